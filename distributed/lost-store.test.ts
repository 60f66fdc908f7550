/**
 * What is said of values right after Redis has lost them, before anybody has looked at the watermarks again: these
 * processes look at them once, at their start. How lost data comes back is in redis-faults.test.ts.
 */
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { cardService, NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';

describeWithServices(['kafka', 'redis'], 'right after Redis has lost data', () => {
  let brokers: string[];
  let redis: RedisServer;
  let deployment: TestDeployment;

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
  }, 180_000);
  beforeEach(async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    deployment = await TestDeployment.open({
      ...{ definitions: [cardService], brokers, redisUrl: redis.url, startMs: NOON_MS, partitions: 1 },
      process: { lagBoundMs: Number.MAX_SAFE_INTEGER },
    });
  });
  afterEach(async () => {
    await deployment?.close();
    await redis?.stop();
  });

  /** Applies so many payments, by a process that ends. */
  const apply = async (payments: number): Promise<void> => {
    const all = await deployment.start(['ingest', 'serve']);
    await all.push(
      'payments',
      Array.from({ length: payments }, () => payment()),
    );
    await all.close();
  };
  /** A process that looks at the watermarks now, and never again. */
  const serving = () => deployment.start(['serve'], { lookEveryMs: 3_600_000 });
  const paymentsOf = async (serve: TestProcess) => {
    const { status, body } = await serve.read('card', { entities: { card: 'c1' }, metadata: true });
    if (status !== 200) return null;
    const { metadata, features } = body;
    return { value: features.payments_ever, status: metadata.features.payments_ever.status };
  };

  test('an emptied store answers catching_up for a key that had events, also while it is filled again', async () => {
    await apply(3);
    const serve = await serving();
    expect(await paymentsOf(serve)).toEqual({ value: 3, status: 'present' });
    await redis.command('FLUSHALL');
    expect(await paymentsOf(serve)).toEqual({ value: 0, status: 'catching_up' });
    await apply(1);
    expect(await paymentsOf(serve)).toEqual({ value: 4, status: 'catching_up' });
    // Whoever looks knows that everything is there.
    expect(await paymentsOf(await serving())).toEqual({ value: 4, status: 'present' });
  });

  test('a store without its newest writes does, and a connection that was lost alone does not matter', async () => {
    await apply(3);
    const folder = join(redis.dir, 'appendonlydir');
    const file = join(folder, readdirSync(folder).find((name) => name.endsWith('.incr.aof'))!);
    const size = (): number => statSync(file).size;
    let kept = -1;
    await until('the first events are in the file', async () => {
      await redis.command('WAITAOF', 1, 0, 1_000).catch(() => {});
      const before = kept;
      kept = size();
      return kept === before;
    });
    await apply(2);
    const serve = await serving();
    const again = async () => {
      let answer: Awaited<ReturnType<typeof paymentsOf>> = null;
      await until('Redis answers again', async () => {
        answer = await paymentsOf(serve);
        return answer !== null;
      });
      return answer;
    };
    expect(await paymentsOf(serve)).toEqual({ value: 5, status: 'present' });
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    expect(await again()).toEqual({ value: 5, status: 'present' });
    await redis.kill('SIGKILL');
    truncateSync(file, kept);
    await redis.restart();
    expect(await again()).toEqual({ value: 3, status: 'catching_up' });
  });
});
