import { describe, test } from 'vitest';
import { haveServices, type ServiceName } from './have-services.ts';

/**
 * `describe` for tests that need real servers. Where one cannot be had the tests are skipped and the title says why;
 * with `REQUIRE_SERVICES=1` in the environment (as .ci/run sets it) one test fails instead.
 *
 * @example
 * describeWithServices(['redis'], 'redis tile store', () => {
 *   let redis: RedisServer;
 *   beforeAll(async () => { redis = await startRedis(); });
 *   afterAll(() => redis.stop());
 *   test('…', () => …);
 * });
 */
export function describeWithServices(needed: readonly ServiceName[], title: string, body: () => void): void {
  const found = haveServices();
  const problems = needed.flatMap((name) => (found[name] === true ? [] : [`${name}: ${found[name]}`]));
  if (problems.length === 0) {
    describe(title, body);
  } else if (process.env.REQUIRE_SERVICES === '1') {
    describe(title, () => {
      test('has the servers it needs', () => {
        throw new Error(`REQUIRE_SERVICES=1, but ${problems.join('; ')}`);
      });
    });
  } else {
    describe.skip(`${title} [no ${problems.join('; no ')}]`, body);
  }
}
