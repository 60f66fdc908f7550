/** What Confluent's serializers write, our decoders read: any columns, any values, every format. */
import { SchemaRegistryClient } from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import { describe, expect, test } from 'vitest';
import { eventDecoder } from '../../engine/definitions/decode-event.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { recordDecoder } from './registry-record-decoder.ts';
import { registryOfClient } from './schema-registry.ts';
import { SUBJECT_FORMATS } from './subject-schemas.ts';
import { randomRow, randomSource } from './testing/random-source.ts';
import { serializeEvents } from './testing/serialized-events.ts';

const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1);
const ROWS = 20;

describe.each(SUBJECT_FORMATS)('%s', (format) => {
  test.each(SEEDS)('events of a random source come back as they were (seed %i)', async (seed) => {
    const random = new SeededRandom(seed);
    const source = randomSource(random, 'events');
    const rows = Array.from({ length: ROWS }, () => randomRow(random, source));
    const client = SchemaRegistryClient.newClient({ baseURLs: ['mock://'] });
    const values = await serializeEvents({ client, source, format, rows });

    const decoder = recordDecoder({ source, registry: registryOfClient(client) });
    await decoder.prepare(values);
    expect(decoder.prepare(values)).toBeUndefined();
    const toRow = eventDecoder(source);
    const read = values.map((value) => {
      const decoded = decoder.decode(value);
      return decoded.ok ? toRow(decoded.data) : decoded;
    });
    expect(read.map((event) => (event.ok ? event.row : event))).toEqual(rows);
  });
});
