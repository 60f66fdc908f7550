import { expect, test } from 'vitest';
import { ConsumerStalledError } from '../ingest/log/kafka/kafka-errors.ts';
import { CliError } from './cli-error.ts';
import { loadConfig } from './config.ts';
import { backendSettings, explain } from './run-roles.ts';

test('a consumer that stands still while the process starts is no defect: exit code 1, as later', () => {
  const stalled = new ConsumerStalledError('the consumer of topic payments stands still');
  expect(explain(stalled)).toEqual(new CliError(stalled.message, { cause: stalled }));
  expect(explain(new TypeError('x is undefined'))).toBeNull();
});

test('what an operator says of Kafka and Redis reaches the backend', () => {
  const flags = { kafka: 'a:1, b:2', redis: 'redis://c:3', ingestLinger: '7', redisReadTimeout: '90' };
  const settings = (some: Record<string, string>) =>
    backendSettings(loadConfig({ flags: { ...flags, ...some }, env: {}, cwd: '/' }));
  expect(settings({ shards: '2' })).toMatchObject({
    kafka: { brokers: ['a:1', 'b:2'] },
    redis: { nodes: ['redis://c:3'], readTimeoutMs: 90, shards: 2 },
    groupTimings: { lingerMs: 7 },
  });
  expect(settings({ ingestLinger: '0' }).groupTimings).toEqual({ lingerMs: 0 });
  expect(() => settings({ ingestLinger: '1001' })).toThrow('a whole number from 0 to 1000 (milliseconds)');
});
