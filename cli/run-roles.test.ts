import { expect, test } from 'vitest';
import { ConsumerStalledError } from '../ingest/log/kafka/kafka-errors.ts';
import { CliError } from './cli-error.ts';
import { explain } from './run-roles.ts';

test('a consumer that stands still while the process starts is no defect: exit code 1, as later', () => {
  const stalled = new ConsumerStalledError('the consumer of topic payments stands still');
  expect(explain(stalled)).toEqual(new CliError(stalled.message, { cause: stalled }));
  expect(explain(new TypeError('x is undefined'))).toBeNull();
});
