import { expect, test } from 'vitest';
import { decodingCosts, formatDecodingCosts } from './decoding.ts';

// Nothing is said of speed here: only that the benchmark runs, and decodes the same events in every format.
test('the decoding benchmark fills its table', async () => {
  const costs = await decodingCosts(50);
  expect(costs.map(({ figure }) => figure)).toEqual(['JSON', 'Avro', 'JSON Schema', 'Protobuf']);
  expect(new Set(costs.map(({ checksum }) => checksum)).size).toBe(1);
  expect(formatDecodingCosts(costs)).toContain(String(costs[0]!.checksum));
});
