/** Random sources and rows of them, extremes preferred. */
import type { ColumnType, ColumnValue } from '../../../engine/aggregators/partial-aggregate.ts';
import { COLUMN_TYPES, LONG_MAX, LONG_MIN } from '../../../engine/definitions/column-value.ts';
import { streamSource } from '../../../engine/definitions/stream-source.ts';
import type { Column, EventRow, StreamSource } from '../../../engine/definitions/types.ts';
import type { SeededRandom } from '../../../engine/testing/random.ts';

/** Names that could be mistaken for something: inherited ones, keywords. */
const NAMES = [
  'a',
  'amount',
  'a_b',
  'constructor',
  'toString',
  'message',
  'optional',
  'string',
  '_',
  'Z9',
  'map',
];

export function randomSource(random: SeededRandom, name: string): StreamSource {
  const columns: Record<string, Column> = { at: { type: 'timestamp', nullable: false } };
  for (const column of NAMES) {
    if (random.chance(0.6))
      columns[column] = { type: random.pick(COLUMN_TYPES), nullable: random.chance(0.4) };
  }
  // The types know no columns made at run time.
  return streamSource({ name, columns, eventTime: 'at' as never });
}

export function randomRow(random: SeededRandom, source: StreamSource): EventRow {
  return Object.fromEntries(
    Object.entries(source.columns).map(([name, { type, nullable }]) => [
      name,
      nullable && random.chance(0.3) ? null : randomValue(random, type),
    ]),
  );
}

const MAX = Number.MAX_SAFE_INTEGER;
const INTEGERS = [0, 1, -1, 63, 64, -64, -65, 127, 128, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32, MAX, -MAX];
const LONGS = [
  LONG_MIN,
  LONG_MAX,
  LONG_MIN + 1n,
  BigInt(MAX) + 1n,
  BigInt(MAX) + 2n,
  -BigInt(MAX) - 1n,
  2n ** 62n,
];
const DOUBLES = [0, 1.5, -1.5, 1e140, -1e140, Number.MIN_VALUE, 0.1, 2 ** 53, 1 / 3];
const TEXTS = ['', 'x', 'naïve', '🚀', '\u0000', '\ufffd', 'é'.repeat(200), 'a'.repeat(64), '"\\\n'];
const TIMES = [0, 1, 999, 1_000, 1_700_000_000_123, 2 ** 45 - 1];

function randomValue(random: SeededRandom, type: ColumnType): ColumnValue {
  switch (type) {
    case 'string':
      return random.pick(TEXTS);
    case 'integer':
      return random.chance(0.5) ? random.pick(INTEGERS) : random.between(-1_000_000, 1_000_000);
    case 'long':
      return random.chance(0.5) ? random.pick(LONGS) : random.pick(INTEGERS);
    case 'double':
      return random.chance(0.5) ? random.pick(DOUBLES) : (random.uint32() - 2 ** 31) / 7;
    case 'boolean':
      return random.chance(0.5);
    case 'timestamp':
      return random.chance(0.5) ? random.pick(TIMES) : random.between(0, 2 ** 41);
  }
}
