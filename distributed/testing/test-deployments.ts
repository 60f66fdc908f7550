/** What most tests over Kafka and Redis begin with: one Redis for all tests of a file, deployments for one test each. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import { both, cardService, decision, NOON_MS } from '../../embedded/testing/test-repo.ts';
import { type RedisServer, sharedServices, startRedis } from '../../services/index.ts';
import { TestDeployment, type TestDeploymentOptions } from './test-deployment.ts';

/** A machine that has never run them gets Kafka and Redis first. */
const START_TIMEOUT_MS = 180_000;

export interface TestDeployments {
  readonly redis: RedisServer;
  /** Closed after the test. @param options where it is not the card service over two partitions, from noon on */
  open(options?: Partial<TestDeploymentOptions>): Promise<TestDeployment>;
}

/** Called within a `describe`: the servers are there when its tests run, and stopped behind them. */
export function testDeployments(): TestDeployments {
  let brokers: string[];
  let redis: RedisServer;
  const opened: TestDeployment[] = [];

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
  }, START_TIMEOUT_MS);
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((deployment) => deployment.close()));
  });
  afterAll(() => redis?.stop());

  return {
    get redis() {
      return redis;
    },
    open: async (options = {}) => {
      const deployment = await TestDeployment.open({
        definitions: [cardService, decision, both],
        brokers,
        redisUrl: redis.url,
        startMs: NOON_MS,
        ...options,
      });
      opened.push(deployment);
      return deployment;
    },
  };
}
