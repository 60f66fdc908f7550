import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../engine/clock.ts';
import {
  NoRegistryError,
  type RecordDecoderOptions,
  recordDecoder,
  UnknownSchemaError,
} from './registry-record-decoder.ts';
import { type RegisteredSchema, RegistryUnavailableError, type SchemaRegistry } from './schema-registry.ts';
import { sourceWith } from './testing/columns.ts';

const source = sourceWith({ id: { type: 'long', nullable: true } });

const avroOf = (field: string): RegisteredSchema => ({
  type: 'AVRO',
  schema: JSON.stringify({ type: 'record', name: 'E', fields: [{ name: field, type: 'long' }] }),
  references: [],
  readRules: [],
});

/** A registry that can be down, and counts what it is asked. */
class FakeRegistry implements SchemaRegistry {
  readonly schemas = new Map<number, RegisteredSchema>();
  readonly asked: number[] = [];
  down = false;
  /** Called before each answer. */
  beforeAnswer: () => void = () => {};

  async schemaById(id: number): Promise<RegisteredSchema | null> {
    this.asked.push(id);
    await null;
    this.beforeAnswer();
    if (this.down) throw new RegistryUnavailableError('it is down');
    return this.schemas.get(id) ?? null;
  }
  latest(): never {
    throw new Error('not asked for');
  }
  register(): never {
    throw new Error('not asked for');
  }
  isCompatible(): never {
    throw new Error('not asked for');
  }
  close(): void {}
}

function setUp(options: Pick<RecordDecoderOptions, 'schemasMax' | 'onLostSchema'> = {}) {
  const registry = new FakeRegistry();
  const clock = new ManualClock(1_000_000);
  const waits: number[] = [];
  const wait = async (ms: number): Promise<void> => {
    waits.push(ms);
    clock.advanceTo(clock.nowMs() + ms);
  };
  const decoder = recordDecoder({ source, registry, clock, wait, ...options });
  return { registry, clock, waits, decoder };
}

/** A record by schema `id` whose only field is 5. */
const recordOf = (id: number): Uint8Array => {
  const bytes = new Uint8Array([0, 0, 0, 0, 0, 10]);
  new DataView(bytes.buffer).setUint32(1, id);
  return bytes;
};
const undecodable = (message: string, reason = 'undecodable') => ({
  ok: false,
  reason,
  message: expect.stringContaining(message),
});

test('each schema is fetched once, however many records and callers', async () => {
  const { registry, decoder } = setUp();
  registry.schemas.set(7, avroOf('id')).set(4_000_000_000, avroOf('other'));
  const values = [recordOf(7), recordOf(4_000_000_000), recordOf(7), null, Buffer.from('{"id":1}')];
  const first = decoder.prepare(values);
  const second = decoder.prepare([recordOf(7)]);
  expect(first).toBeInstanceOf(Promise);
  await Promise.all([first, second]);
  expect(registry.asked.sort()).toEqual([4_000_000_000, 7].sort());
  expect(decoder.prepare(values)).toBeUndefined();
  expect(decoder.prepare([null, Buffer.from('{}')])).toBeUndefined();
  expect(values.map((value) => decoder.decode(value))).toEqual([
    { ok: true, data: { id: 5 } },
    { ok: true, data: {} },
    { ok: true, data: { id: 5 } },
    undecodable('tombstone'),
    { ok: true, data: { id: 1 } },
  ]);
});

describe('a registry that cannot be reached', () => {
  test('is an error to try again after, and then it goes on', async () => {
    const { registry, waits, decoder } = setUp();
    registry.schemas.set(1, avroOf('id'));
    registry.down = true;
    await expect(decoder.prepare([recordOf(1)])).rejects.toThrow(RegistryUnavailableError);
    await expect(decoder.prepare([recordOf(1)])).rejects.toThrow(RegistryUnavailableError);
    expect(waits).toEqual([]);
    registry.down = false;
    await decoder.prepare([recordOf(1)]);
    expect(decoder.decode(recordOf(1))).toEqual({ ok: true, data: { id: 5 } });
  });

  test('does not matter for schemas that are known', async () => {
    const { registry, decoder } = setUp();
    registry.schemas.set(1, avroOf('id'));
    await decoder.prepare([recordOf(1)]);
    registry.down = true;
    expect(decoder.prepare([recordOf(1)])).toBeUndefined();
    await expect(decoder.prepare([recordOf(1), recordOf(2)])).rejects.toThrow(RegistryUnavailableError);
    expect(decoder.decode(recordOf(1)).ok).toBe(true);
  });

  test('while an unknown id is asked for again, proves nothing about the id', async () => {
    const { registry, decoder } = setUp();
    let answers = 0;
    registry.beforeAnswer = () => {
      registry.down = ++answers === 3;
    };
    await expect(decoder.prepare([recordOf(1)])).rejects.toThrow(RegistryUnavailableError);
    expect(() => decoder.decode(recordOf(1))).toThrow('not prepared');
  });
});

describe('a schema id that the registry does not know', () => {
  test('stops whoever needs it, again and again, until it is there', async () => {
    const { registry, waits, decoder } = setUp();
    registry.schemas.set(1, avroOf('id'));
    const values = [recordOf(9), recordOf(1), recordOf(10)];
    for (let tries = 0; tries < 2; tries++) {
      const prepared = decoder.prepare(values);
      await expect(prepared).rejects.toThrow(UnknownSchemaError);
      await expect(prepared).rejects.toMatchObject({ ids: [9, 10] });
      await expect(prepared).rejects.toThrow(/does not have schema 9, 10, .*--on-lost-schema continue/);
    }
    expect(() => decoder.decode(recordOf(9))).toThrow('not prepared');
    // Another record's schema is not asked for again.
    expect(registry.asked.filter((id) => id === 1)).toHaveLength(1);
    expect(waits.length).toBeGreaterThan(0);
    registry.schemas.set(9, avroOf('id')).set(10, avroOf('id'));
    await decoder.prepare(values);
    expect(values.map((value) => decoder.decode(value).ok)).toEqual([true, true, true]);
  });

  test('is believed after 2 s of asking, and for half a minute, where records shall be dead letters', async () => {
    const { registry, clock, waits, decoder } = setUp({ onLostSchema: 'continue' });
    await decoder.prepare([recordOf(9)]);
    expect(registry.asked).toEqual([9, 9, 9, 9]);
    expect(waits.reduce((sum, ms) => sum + ms)).toBe(2_000);
    expect(decoder.decode(recordOf(9))).toEqual(undecodable('has no schema 9', 'unknown_schema'));

    clock.advanceTo(clock.nowMs() + 29_999);
    expect(decoder.prepare([recordOf(9)])).toBeUndefined();
    clock.advanceTo(clock.nowMs() + 1);
    registry.schemas.set(9, avroOf('id'));
    await decoder.prepare([recordOf(9)]);
    expect(decoder.decode(recordOf(9))).toEqual({ ok: true, data: { id: 5 } });
  });

  test('may only be new to a follower of the registry', async () => {
    const { registry, decoder } = setUp();
    registry.beforeAnswer = () => {
      if (registry.asked.length === 3) registry.schemas.set(9, avroOf('id'));
    };
    await decoder.prepare([recordOf(9)]);
    expect(registry.asked).toEqual([9, 9, 9]);
    expect(decoder.decode(recordOf(9))).toEqual({ ok: true, data: { id: 5 } });
  });
});

describe('records that no schema helps', () => {
  test.each([
    ['shorter than the id', new Uint8Array([0, 0, 0, 1]), 'shorter than 5 bytes'],
    ['with a GUID', new Uint8Array([1, ...Array<number>(16).fill(7)]), 'by a GUID'],
    ['with another first byte', new Uint8Array([2, 0, 0, 0, 1]), 'not UTF-8 JSON'],
    ['empty', new Uint8Array(0), 'not UTF-8 JSON'],
  ])('%s', (_, value, message) => {
    const { registry, decoder } = setUp();
    expect(decoder.prepare([value])).toBeUndefined();
    expect(decoder.decode(value)).toEqual(undecodable(message));
    expect(registry.asked).toEqual([]);
  });

  test('a schema that cannot be used is not asked for again', async () => {
    const { registry, clock, decoder } = setUp();
    registry.schemas
      .set(1, { type: 'XML', schema: '<a/>', references: [], readRules: [] })
      .set(2, { ...avroOf('id'), readRules: ['ENCRYPT'] })
      .set(3, { ...avroOf('id'), schema: '{"type":' });
    const values = [recordOf(1), recordOf(2), recordOf(3)];
    await decoder.prepare(values);
    expect(values.map((value) => decoder.decode(value))).toEqual([
      undecodable("the record's schema 1 is of type XML; AVRO, JSON and PROTOBUF are supported"),
      undecodable("the record's schema 2 has rules that change values on reading (ENCRYPT)"),
      undecodable("the record's schema 3 cannot be parsed"),
    ]);
    clock.advanceTo(clock.nowMs() + 1e9);
    expect(decoder.prepare(values)).toBeUndefined();
  });
});

test('without a registry JSON is read, and a schema id is no dead letter', async () => {
  const decoder = recordDecoder({ source, registry: null });
  const json = Buffer.from('{"id":1}');
  expect(decoder.prepare([json])).toBeUndefined();
  expect(decoder.decode(json)).toEqual({ ok: true, data: { id: 1 } });
  await expect(decoder.prepare([json, recordOf(1)])).rejects.toThrow(NoRegistryError);
  await expect(decoder.prepare([json, recordOf(1)])).rejects.toThrow('--registry');
  expect(() => decoder.decode(recordOf(1))).toThrow('not prepared');
});

test('without a registry a schema id is a dead letter where the settings say so', async () => {
  const decoder = recordDecoder({ source, registry: null, onLostSchema: 'continue' });
  const json = Buffer.from('{"id":1}');
  await decoder.prepare([json, recordOf(1)]);
  expect(decoder.decode(json)).toEqual({ ok: true, data: { id: 1 } });
  expect(decoder.decode(recordOf(1))).toMatchObject({ ok: false, reason: 'unknown_schema' });
});

test('schemas kept are bounded, but those at hand always stay', async () => {
  const { registry, decoder } = setUp({ schemasMax: 3 });
  for (let id = 1; id <= 10; id++) registry.schemas.set(id, avroOf('id'));
  const values = [1, 2, 3, 4, 5].map(recordOf);
  await decoder.prepare(values);
  for (const value of values) expect(decoder.decode(value).ok).toBe(true);
  registry.asked.length = 0;
  await decoder.prepare([recordOf(5), recordOf(6)]);
  expect(registry.asked).toEqual([6]);
  expect(decoder.decode(recordOf(5)).ok).toBe(true);
  // The oldest went.
  expect(() => decoder.decode(recordOf(1))).toThrow('not prepared');
});
