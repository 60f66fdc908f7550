/**
 * `node --conditions=source --import tsx bench/decoding.ts`: what decoding a record costs, by format, next to the
 * deserializers of Confluent's client. The events have eight columns and are the same in every format.
 */
import { fileURLToPath } from 'node:url';
import { toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { Client } from '@confluentinc/schemaregistry';
import { SchemaRegistryClient } from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import { AvroDeserializer } from '@confluentinc/schemaregistry/dist/serde/avro.js';
import { JsonDeserializer } from '@confluentinc/schemaregistry/dist/serde/json.js';
import { ProtobufDeserializer } from '@confluentinc/schemaregistry/dist/serde/protobuf.js';
import { SerdeType, SubjectNameStrategyType } from '@confluentinc/schemaregistry/dist/serde/serde.js';
import { textTable } from '../cli/text-table.ts';
import { boolean, double, integer, long, string, timestamp } from '../engine/definitions/column.ts';
import { eventDecoder } from '../engine/definitions/decode-event.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { jsonRecordDecoder } from '../ingest/decoding/json-record.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import { recordDecoder } from '../ingest/decoding/registry-record-decoder.ts';
import { registryOfClient } from '../ingest/decoding/schema-registry.ts';
import { SUBJECT_FORMATS, type SubjectFormat } from '../ingest/decoding/subject-schemas.ts';
import { messageOf, serializeEvents } from '../ingest/decoding/testing/serialized-events.ts';

const source = streamSource({
  name: 'swipes',
  columns: {
    id: long(),
    at: timestamp(),
    card: string(),
    merchant: string({ nullable: true }),
    amount: double(),
    items: integer(),
    online: boolean(),
    country: string(),
  },
  eventTime: 'at',
  eventId: 'id',
});

export interface DecodingCost {
  readonly figure: string;
  /** µs per record: to plain data, and with the columns checked. */
  readonly decodeUs: number;
  readonly rowUs: number;
  /** Of the client's deserializer, which checks no columns; null: it has none for the figure. */
  readonly clientUs: number | null;
  /** Sum of the amounts that were decoded. */
  readonly checksum: number;
}

const ROUNDS = 7;

/** The median of a few rounds, in µs per record. */
async function cost(records: number, work: () => Promise<void> | void): Promise<number> {
  const times: number[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const startedMs = performance.now();
    await work();
    // The first round warms up.
    if (round >= 0) times.push(performance.now() - startedMs);
  }
  return (times.sort((a, b) => a - b)[ROUNDS >>> 1]! / records) * 1000;
}

function rowsOf(count: number, seed: number): EventRow[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: count }, (_, i) => ({
    id: 10_000_000_000 + i,
    at: 1_700_000_000_000 + random.between(0, 1_000_000_000),
    card: `4${random.hex64()}`,
    merchant: random.chance(0.1) ? null : `merchant-${random.below(10_000)}`,
    amount: random.between(1, 100_000) / 100,
    items: random.between(1, 20),
    online: random.chance(0.3),
    country: random.pick(['DE', 'FR', 'US', 'JP']),
  }));
}

export async function decodingCosts(records: number, seed = 1): Promise<DecodingCost[]> {
  const rows = rowsOf(records, seed);
  const toRow = eventDecoder(source);
  const measure = async (
    figure: string,
    decoder: RecordDecoder,
    values: readonly Uint8Array[],
    client: ((value: Buffer) => Promise<unknown>) | null,
  ): Promise<DecodingCost> => {
    await decoder.prepare(values);
    let sum = 0;
    const decodeUs = await cost(records, () => {
      sum = 0;
      for (const value of values) {
        const decoded = decoder.decode(value);
        if (!decoded.ok) throw new Error(decoded.message);
        sum += (decoded.data as { amount: number }).amount;
      }
    });
    const rowUs = await cost(records, () => {
      for (const value of values) {
        const decoded = decoder.decode(value);
        if (!decoded.ok || !toRow(decoded.data).ok) throw new Error('an event was refused');
      }
    });
    const clientUs =
      client === null
        ? null
        : await cost(records, async () => {
            for (const value of values) await client(value as Buffer);
          });
    return { figure, decodeUs, rowUs, clientUs, checksum: Math.round(sum * 100) / 100 };
  };

  const costs = [
    await measure(
      'JSON',
      jsonRecordDecoder(),
      rows.map((row) => Buffer.from(JSON.stringify(row))),
      null,
    ),
  ];
  for (const format of SUBJECT_FORMATS) {
    const client = SchemaRegistryClient.newClient({ baseURLs: ['mock://'] });
    const values = await serializeEvents({ client, source, format, rows });
    const decoder = recordDecoder({ source, registry: registryOfClient(client) });
    const deserializer = await deserializerOf(format, client);
    costs.push(
      await measure(NAMES[format], decoder, values, (value) => deserializer.deserialize(source.topic, value)),
    );
  }
  return costs;
}

const NAMES: Readonly<Record<SubjectFormat, string>> = {
  avro: 'Avro',
  json: 'JSON Schema',
  protobuf: 'Protobuf',
};

async function deserializerOf(
  format: SubjectFormat,
  client: Client,
): Promise<{ deserialize(topic: string, value: Buffer): Promise<unknown> }> {
  const config = { subjectNameStrategyType: SubjectNameStrategyType.TOPIC };
  switch (format) {
    case 'avro':
      return new AvroDeserializer(client, SerdeType.VALUE, config);
    case 'json':
      return new JsonDeserializer(client, SerdeType.VALUE, config);
    case 'protobuf': {
      // It reads descriptors only, and the schema is registered as text: another registry has it under the same id.
      const described = SchemaRegistryClient.newClient({ baseURLs: ['mock://'] });
      const descriptor = toBinary(FileDescriptorProtoSchema, messageOf(source).file.proto);
      const schema = Buffer.from(descriptor).toString('base64');
      await described.register(`${source.topic}-value`, { schemaType: 'PROTOBUF', schema }, false);
      return new ProtobufDeserializer(described, SerdeType.VALUE, config);
    }
  }
}

export function formatDecodingCosts(costs: readonly DecodingCost[]): string {
  const rows = costs.map(({ figure, decodeUs, rowUs, clientUs, checksum }) => [
    figure,
    decodeUs.toFixed(2),
    rowUs.toFixed(2),
    clientUs?.toFixed(2) ?? '',
    clientUs === null ? '' : (clientUs / decodeUs).toFixed(1),
    String(checksum),
  ]);
  return textTable([
    [
      'µs per record of 8 columns',
      'decode',
      'decode + columns',
      "client's deserializer",
      'times decode',
      'checksum',
    ],
    ...rows,
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(formatDecodingCosts(await decodingCosts(20_000)));
  console.log(
    '\nNot measured: fetching schemas, records larger than a few hundred bytes, other load on the machine.',
  );
}
