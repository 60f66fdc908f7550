/**
 * Writers older and newer than the reader. Of two random versions of a source one writes and the other reads: columns
 * come and go, become nullable or not, and widen. What a reader must find follows from the two definitions alone.
 */
import { SchemaRegistryClient } from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import { describe, expect, test } from 'vitest';
import { COLUMN_TYPES } from '../../engine/definitions/column-value.ts';
import { eventDecoder } from '../../engine/definitions/decode-event.ts';
import type { Column, EventRow, StreamSource } from '../../engine/definitions/types.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { recordDecoder } from './registry-record-decoder.ts';
import { registryOfClient } from './schema-registry.ts';
import { SUBJECT_FORMATS } from './subject-schemas.ts';
import { sourceWith } from './testing/columns.ts';
import { randomRow } from './testing/random-source.ts';
import { serializeEvents } from './testing/serialized-events.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1);

/** What a column of the writer may have become in the reader. */
function laterType(random: SeededRandom, { type }: Column): Column['type'] {
  return type === 'integer' ? random.pick(['integer', 'long', 'double'] as const) : type;
}

function versions(random: SeededRandom): [writer: StreamSource, reader: StreamSource] {
  const writer: Record<string, Column> = {};
  const reader: Record<string, Column> = {};
  for (const name of NAMES) {
    const column = { type: random.pick(COLUMN_TYPES), nullable: random.chance(0.5) };
    if (random.chance(0.75)) writer[name] = column;
    if (random.chance(0.75)) reader[name] = { type: laterType(random, column), nullable: random.chance(0.7) };
  }
  // The order of columns means nothing to a reader.
  const shuffled = Object.entries(reader).sort(() => random.below(3) - 1);
  return [sourceWith(writer), sourceWith(Object.fromEntries(shuffled))];
}

/** The row, or the column that is missing. */
function expected(row: EventRow, reader: StreamSource): EventRow | string {
  const read: Record<string, EventRow[string]> = {};
  for (const [name, { nullable }] of Object.entries(reader.columns)) {
    const value = row[name] ?? null;
    if (value === null && !nullable) return name;
    read[name] = value;
  }
  return read;
}

describe.each(SUBJECT_FORMATS)('%s', (format) => {
  test.each(SEEDS)('one version reads what the other wrote (seed %i)', async (seed) => {
    const random = new SeededRandom(seed);
    const [writer, reader] = versions(random);
    const rows = Array.from({ length: 10 }, () => randomRow(random, writer));
    const client = SchemaRegistryClient.newClient({ baseURLs: ['mock://'] });
    const values = await serializeEvents({ client, source: writer, format, rows });

    const decoder = recordDecoder({ source: reader, registry: registryOfClient(client) });
    await decoder.prepare(values);
    const toRow = eventDecoder(reader);
    const read = values.map((value) => {
      const decoded = decoder.decode(value);
      if (!decoded.ok) return decoded;
      const event = toRow(decoded.data);
      return event.ok ? event.row : event.code === 'missing_value' ? event.column : event;
    });
    expect(read).toEqual(rows.map((row) => expected(row, reader)));
  });
});
