/** Against a real registry (Apicurio, which speaks Confluent's interface). */

import { create, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import {
  type Client,
  SchemaRegistryClient,
} from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventDecoder } from '../../engine/definitions/decode-event.ts';
import type { EventRow, StreamSource } from '../../engine/definitions/types.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { describeWithServices, type RegistryServer, startRegistry } from '../../services/index.ts';
import type { RecordDecoder } from './record-decoder.ts';
import { recordDecoder, UnknownSchemaError } from './registry-record-decoder.ts';
import {
  openSchemaRegistry,
  RegistryRefusalError,
  RegistryUnavailableError,
  type SchemaRegistry,
} from './schema-registry.ts';
import { SUBJECT_FORMATS, subjectSchema } from './subject-schemas.ts';
import { sourceWith } from './testing/columns.ts';
import { randomRow, randomSource } from './testing/random-source.ts';
import { messageOf, serializeEvents } from './testing/serialized-events.ts';

const BACKWARD = JSON.stringify({ compatibility: 'BACKWARD' });

function readRows(
  decoder: RecordDecoder,
  source: StreamSource,
  values: readonly Uint8Array[],
): (EventRow | unknown)[] {
  const toRow = eventDecoder(source);
  return values.map((value) => {
    const decoded = decoder.decode(value);
    if (!decoded.ok) return decoded;
    const event = toRow(decoded.data);
    return event.ok ? event.row : event;
  });
}

describeWithServices(['registry'], 'a schema registry', () => {
  let server: RegistryServer;
  let registry: SchemaRegistry;
  let client: Client;

  beforeAll(async () => {
    server = await startRegistry();
    registry = await openSchemaRegistry({ urls: [server.url] });
    client = SchemaRegistryClient.newClient({ baseURLs: [server.url] });
  }, 240_000);

  afterAll(async () => {
    registry?.close();
    await server?.stop();
  }, 60_000);

  test('a path that was forgotten is a registry that cannot be used, not a schema that is unknown', async () => {
    const wrong = await openSchemaRegistry({ urls: [new URL('/', server.url).origin] });
    try {
      await expect(wrong.schemaById(1)).rejects.toThrow(/check the path of --registry/);
      await expect(wrong.latest('nothing-value')).rejects.toThrow(RegistryUnavailableError);
      expect(await registry.schemaById(987_654)).toBeNull();
      expect(await registry.latest('nothing-value')).toBeNull();
      expect(await registry.isCompatible('nothing-value', { type: 'AVRO', schema: '"int"' })).toBe(true);
    } finally {
      wrong.close();
    }
  });

  test.each(SUBJECT_FORMATS)('%s events come back as they were', async (format) => {
    const random = new SeededRandom(3);
    const source = randomSource(random, `events_${format}`);
    const rows = Array.from({ length: 20 }, () => randomRow(random, source));
    const values = await serializeEvents({ client, source, format, rows });
    const decoder = recordDecoder({ source, registry });
    await decoder.prepare(values);
    expect(readRows(decoder, source, values)).toEqual(rows);
  });

  test('Protobuf schemas that were registered as descriptors, with references, are read', async () => {
    const kind = create(FileDescriptorProtoSchema, {
      name: 'kind.proto',
      package: 'shared',
      syntax: 'proto3',
      enumType: [
        {
          name: 'Kind',
          value: [
            { name: 'NONE', number: 0 },
            { name: 'SOME', number: 1 },
          ],
        },
      ],
    });
    const event = create(FileDescriptorProtoSchema, {
      name: 'event.proto',
      package: 'p',
      syntax: 'proto3',
      dependency: ['kind.proto'],
      messageType: [
        {
          name: 'Event',
          field: [{ name: 'kind', number: 1, type: 14, label: 1, typeName: '.shared.Kind' }],
        },
      ],
    });
    const base64 = (file: typeof kind): string =>
      Buffer.from(toBinary(FileDescriptorProtoSchema, file)).toString('base64');
    await client.register('kind.proto', { schemaType: 'PROTOBUF', schema: base64(kind) }, false);
    const references = [{ name: 'kind.proto', subject: 'kind.proto', version: 1 }];
    const id = await client.register(
      'described-value',
      { schemaType: 'PROTOBUF', schema: base64(event), references },
      false,
    );
    const source = sourceWith({ kind: { type: 'string', nullable: false } });
    const value = Buffer.from([0, 0, 0, 0, 0, 0, 8, 1]);
    value.writeUInt32BE(id, 1);
    const decoder = recordDecoder({ source, registry });
    await decoder.prepare([value]);
    expect(readRows(decoder, source, [value])).toEqual([{ at: null, kind: 'SOME' }]);
    // The source's own message, as text, means the same as its descriptor.
    const own = await registry.register('own-value', subjectSchema(source, 'protobuf', new Set()));
    const descriptor = await client.register(
      'own-descriptor-value',
      { schemaType: 'PROTOBUF', schema: base64(messageOf(source).file.proto) },
      false,
    );
    const values = [own.id, descriptor].map((schemaId) => {
      const bytes = Buffer.from([0, 0, 0, 0, 0, 0, 0x12, 1, 0x61]);
      bytes.writeUInt32BE(schemaId, 1);
      return bytes;
    });
    await decoder.prepare(values);
    expect(readRows(decoder, source, values)).toEqual([
      { at: null, kind: 'a' },
      { at: null, kind: 'a' },
    ]);
  });

  test('an id that nobody registered is waited for, or refused', async () => {
    const source = sourceWith({});
    const value = Buffer.from([0, 0x7f, 0, 0, 0]);
    const waiting = recordDecoder({ source, registry, wait: async () => {} });
    await expect(waiting.prepare([value])).rejects.toThrow(UnknownSchemaError);
    const decoder = recordDecoder({ source, registry, onLostSchema: 'continue', wait: async () => {} });
    await decoder.prepare([value]);
    expect(decoder.decode(value)).toMatchObject({ ok: false, reason: 'unknown_schema' });
  });

  test('registering is idempotent; what is not compatible is refused with the reason', async () => {
    const source = sourceWith({ amount: { type: 'long', nullable: false } });
    const wider = sourceWith({
      amount: { type: 'double', nullable: false },
      note: { type: 'string', nullable: true },
    });
    const other = sourceWith({ amount: { type: 'string', nullable: false } });
    const [first, second, third] = [source, wider, other].map((version) =>
      subjectSchema(version, 'avro', new Set()),
    );
    const registered = await registry.register('amounts-value', first!);
    expect(await registry.register('amounts-value', first!)).toEqual(registered);
    await fetch(`${server.url}/config/amounts-value`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: BACKWARD,
    });
    expect(await registry.isCompatible('amounts-value', second!)).toBe(true);
    expect(await registry.isCompatible('amounts-value', third!)).toBe(false);
    await expect(registry.register('amounts-value', third!)).rejects.toThrow(RegistryRefusalError);
    await expect(registry.register('amounts-value', third!)).rejects.toThrow(/LONG/i);
    expect(await registry.latest('amounts-value')).toMatchObject({ ...registered, type: 'AVRO' });
    expect(await registry.latest('nobody-value')).toBeNull();
    expect(await registry.isCompatible('nobody-value', first!)).toBe(true);
  });

  test('while it is down records wait; when it is back they are read', async () => {
    const random = new SeededRandom(4);
    const source = randomSource(random, 'waiting');
    const rows = [randomRow(random, source)];
    const values = await serializeEvents({ client, source, format: 'avro', rows });
    await server.kill();
    const impatient = await openSchemaRegistry({ urls: [server.url], timeoutMs: 2_000 });
    const decoder = recordDecoder({ source, registry: impatient });
    await expect(decoder.prepare(values)).rejects.toThrow(RegistryUnavailableError);
    await server.restart();
    await decoder.prepare(values);
    expect(readRows(decoder, source, values)).toEqual(rows);
    impatient.close();
  }, 240_000);

  test('one that came back without its schemas pauses who needs them, until they are restored', async () => {
    const random = new SeededRandom(5);
    const source = randomSource(random, 'lost');
    const rows = [randomRow(random, source)];
    const values = await serializeEvents({ client, source, format: 'avro', rows });
    await server.kill();
    // Another one in its place, which never heard of them.
    const empty = await startRegistry({ ports: [server.port] });
    const decoder = recordDecoder({ source, registry, wait: async () => {} });
    try {
      await expect(decoder.prepare(values)).rejects.toThrow(UnknownSchemaError);
    } finally {
      await empty.stop();
    }
    await server.restart();
    await decoder.prepare(values);
    expect(readRows(decoder, source, values)).toEqual(rows);
  }, 240_000);
});
