/**
 * Clients that are not ours, in both directions: kcat and Confluent's Python client (both librdkafka), its Avro
 * serializer, and Apicurio as the registry. What they write is counted right, also integers beyond 2⁵³; what we write
 * they read as it is, byte for byte.
 */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { deadLetterTopic } from '../ingest/log/kafka/kafka-dead-letters.ts';
import { type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { findProgram } from '../services/process/find-program.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { describeWithPrograms } from './describe-with-programs.ts';
import { fixture, postJson, push, temporaryDirectory, up } from './millrace-process.ts';
import { kafkaClient, readTopic } from './topic-content.ts';

/** Debian's, where its packages are; not one of PATH. */
const PYTHON = '/usr/bin/python3';
const WAIT_MS = 60_000;
const START_MS = 240_000;

function missing(): string | null {
  if (findProgram('kcat') === null) return 'kcat is not installed (Debian package kcat)';
  const { status } = spawnSync(PYTHON, ['-c', 'import confluent_kafka, avro, requests']);
  return status === 0
    ? null
    : `${PYTHON} lacks confluent_kafka or avro (Debian packages python3-confluent-kafka, python3-avro)`;
}

function run(program: string, args: readonly string[], input: string | Buffer = ''): Buffer {
  const { status, stdout, stderr, error } = spawnSync(program, args, { input, timeout: WAIT_MS });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr.toString()}`);
  return stdout;
}

const python = (args: readonly string[], events: readonly unknown[] = []): string =>
  run(PYTHON, [join(fixture('interop'), 'client.py'), ...args], ndjson(events)).toString();
const ndjson = (events: readonly unknown[]): string =>
  events.map((event) => `${JSON.stringify(event)}\n`).join('');
const linesOf = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

interface KcatRecord {
  readonly partition: number;
  readonly offset: number;
  /** Names and values in turns. */
  readonly headers?: readonly string[];
  readonly key: string | null;
  readonly payload: string | null;
}

interface PythonRecord {
  readonly partition: number;
  readonly offset: number;
  /** Hex, as the values and those of the headers. */
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string])[];
}

const byPosition = <R extends { partition: number; offset: number }>(records: readonly R[]): R[] =>
  [...records].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
const hex = (text: string): string => Buffer.from(text).toString('hex');

describeWithPrograms(missing(), ['kafka', 'redis', 'registry'], 'clients that are not ours', () => {
  let brokers: string;
  let registry: string;
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    brokers = (await sharedServices().kafka()).join(',');
    registry = await sharedServices().registry();
  }, START_MS);
  afterAll(() => redis?.stop());

  const kcatTopic = (topic: string): KcatRecord[] =>
    byPosition(
      linesOf(
        run('kcat', ['-C', '-b', brokers, '-t', topic, '-o', 'beginning', '-e', '-q', '-J']).toString(),
      ) as KcatRecord[],
    );
  const pythonTopic = (topic: string): PythonRecord[] =>
    byPosition(linesOf(python(['consume', brokers, topic])) as PythonRecord[]);

  const start = async () => {
    const id = `interop-${randomUUID()}`;
    const args = ['--features', fixture('roles'), '--kafka', brokers, '--redis', redis.url];
    args.push('--registry', registry, '--redis-prefix', id.slice(0, 30), '--group', id);
    args.push('--on-lost-schema', 'continue');
    const server = await up([...args, '--create-topics', '--partitions', '2'], { env: { TEST_TOPICS: id } });
    return { server, payments: `${id}.payments`, visits: `${id}.visits` };
  };

  const at = new Date(Date.now() - 60_000).toISOString();
  const payment = (id: string, points: string | null) => ({
    id,
    at,
    card: 'k',
    shop: 's',
    amount: 0.5,
    points,
  });

  it('read what they wrote: JSON and Avro, of every compression', { timeout: START_MS }, async () => {
    const { server, payments, visits } = await start();
    const points = [
      '9007199254740993',
      '-9007199254740995',
      '9223372036854775807',
      '4611686018427387905',
      '7',
    ];
    const [a, b, c, d, e] = points.map((value, i) => payment(`event-${i}`, value));

    const produce = ['-P', '-b', brokers, '-t', payments];
    run('kcat', [...produce, '-z', 'snappy', '-k', 'some key', '-H', 'from=kcat'], ndjson([a]));
    // The same again, on another partition: one event.
    run('kcat', [...produce, '-z', 'gzip', '-p', '0'], ndjson([a]));
    run('kcat', [...produce, '-z', 'zstd', '-p', '1'], ndjson([a]));
    const file = join(temporaryDirectory(), 'swipe.avro');
    const [encoded] = python(['encode', payments, registry], [b]).split('\n');
    expect(encoded).toMatch(/^00/);
    writeFileSync(file, Buffer.from(encoded!, 'hex'));
    run('kcat', [...produce, '-z', 'lz4', file]);

    const avro = ['produce-avro', brokers, payments, registry];
    python([...avro, 'zstd'], [c]);
    python([...avro, 'snappy'], [{ ...d, shop: null }]);
    python([...avro, 'lz4'], [{ ...d, shop: null }]);
    python(['produce-json', brokers, payments, 'gzip'], [e, payment('event-null', null)]);
    const visit = { at, card: 'k', page: '/€' };
    python(['produce-json', brokers, visits, 'none'], [visit, visit]);

    const read = async () => {
      const request = { entities: { card: 'k' }, metadata: true };
      const { body } = await postJson(`${server.url}/v1/services/card/features`, request);
      return (body as { features: Record<string, unknown> }).features;
    };
    await waitUntil(
      async () => {
        const { payments_ever, visits_12h } = await read();
        return payments_ever === 6 && visits_12h === 2;
      },
      { what: 'all events are counted', timeoutMs: WAIT_MS },
    );
    const sum = points.reduce((total, value) => total + BigInt(value), 0n).toString();
    expect(await read()).toMatchObject({
      payments_12h: 6,
      payments_ever: 6,
      points_ever: sum,
      points_sum_12h: sum,
      amount_sum_12h: 3,
      shops_12h: 1,
      visits_12h: 2,
      pages_12h: 1,
    });
    expect(await readTopic(kafkaClient(brokers.split(',')), deadLetterTopic(payments))).toEqual([]);
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(server.process.stderr).toBe('');
  });

  it('read what was pushed to us, byte for byte', { timeout: START_MS }, async () => {
    const { server, payments, visits } = await start();
    const events = [payment('one', '9007199254740993'), payment('two €', null), payment('three', '-5')];
    const pages = ['/a', '/ü'].map((page) => ({ at, card: 'k', page }));
    await push(server, 'payments', events);
    await push(server, 'visits', pages);
    for (const [topic, pushed] of [
      [payments, events],
      [visits, pages],
    ] as const) {
      const ours = await readTopic(kafkaClient(brokers.split(',')), topic);
      const fromPython = pythonTopic(topic);
      const fromKcat = kcatTopic(topic);
      expect(ours).toHaveLength(pushed.length);
      expect(fromPython.map(({ value, key }) => ({ value, key }))).toEqual(
        ours.map(({ value }) => ({ value: value!.toString('hex'), key: null })),
      );
      expect(fromKcat.map(({ payload, key }) => ({ payload, key }))).toEqual(
        ours.map(({ value }) => ({ payload: value!.toString(), key: null })),
      );
      const named = (event: unknown): string => JSON.stringify(event, Object.keys(event as object).sort());
      const values = fromKcat.map(({ payload }) => {
        const value = JSON.parse(payload!) as { at: string };
        // A number of digits is a long as well; times may be written as ms.
        return named({ ...value, at: new Date(value.at).toISOString() });
      });
      const wanted = pushed.map((event) =>
        'points' in event && event.points === '-5' ? { ...event, points: -5 } : event,
      );
      expect(values.sort()).toEqual(wanted.map(named).sort());
      for (const [i, { headers }] of fromPython.entries()) {
        if (topic === payments) expect(headers).toEqual([]);
        else {
          // Without an event id each record has a stamp, which tells it apart.
          expect(headers.map(([name]) => name)).toEqual(['millrace-stamp']);
          expect(fromKcat[i]!.headers![1]).toMatch(/^[0-9a-f-]{36}$/);
          expect(hex(fromKcat[i]!.headers![1]!)).toBe(headers[0]![1]);
        }
      }
    }
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('read our dead letters: the record as it was, and why', { timeout: START_MS }, async () => {
    const { server, payments } = await start();
    const produce = ['-P', '-b', brokers, '-t', payments, '-p', '1'];
    const directory = temporaryDirectory();
    const bad: readonly { bytes: Buffer; reason: string }[] = [
      { bytes: Buffer.from('{"id":"no end'), reason: 'undecodable' },
      { bytes: Buffer.from([0xff, 0, 1, 0x0a, 0x80]), reason: 'undecodable' },
      // A schema id that the registry does not know.
      { bytes: Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 2, 4]), reason: 'unknown_schema' },
      { bytes: Buffer.from('{"id":"x","card":"k"}'), reason: 'breaks_schema' },
      {
        bytes: Buffer.from(JSON.stringify({ ...payment('y', null), at: '2100-01-01T00:00:00Z' })),
        reason: 'too_far_in_future',
      },
    ];
    for (const [i, { bytes }] of bad.entries()) {
      const file = join(directory, `${i}`);
      writeFileSync(file, bytes);
      run('kcat', [...produce, '-k', `key ${i}`, '-H', 'from=kcat', '-H', 'from=again', file]);
    }
    // Without a value and headers.
    run('kcat', [...produce, '-Z', '-K', ':'], 'gone:\n');
    run('kcat', [...produce], ndjson([payment('good', '1')]));
    const letters = deadLetterTopic(payments);
    const kafka = kafkaClient(brokers.split(','));
    const admin = kafka.admin();
    await admin.connect();
    try {
      await waitUntil(
        async () => {
          const ends = await admin.fetchTopicOffsets(letters);
          return ends.reduce((sum, { high }) => sum + Number(high), 0) >= bad.length + 1;
        },
        { what: 'all letters are written', timeoutMs: WAIT_MS },
      );
    } finally {
      await admin.disconnect();
    }
    const fromPython = pythonTopic(letters);
    expect(fromPython).toHaveLength(bad.length + 1);
    const texts = (record: PythonRecord): Map<string, string> =>
      new Map(record.headers.map(([name, value]) => [name, Buffer.from(value, 'hex').toString()]));
    for (const [i, { bytes, reason }] of bad.entries()) {
      const record = fromPython[i]!;
      const headers = texts(record);
      expect(record.value).toBe(bytes.toString('hex'));
      expect(record.key).toBe(hex(`key ${i}`));
      expect(record.headers.slice(0, 2)).toEqual([
        ['from', hex('kcat')],
        ['from', hex('again')],
      ]);
      expect(headers.get('millrace-reason')).toBe(reason);
      expect(headers.get('millrace-message')).not.toBe('');
      expect(headers.get('millrace-source')).toBe('payments');
      expect(headers.get('millrace-topic')).toBe(payments);
      expect(headers.get('millrace-partition')).toBe('1');
      expect(headers.get('millrace-offset')).toBe(`${i}`);
      expect(Number(headers.get('millrace-timestamp'))).toBeGreaterThan(Date.parse(at));
    }
    const tombstone = fromPython[bad.length]!;
    expect({ key: tombstone.key, value: tombstone.value }).toEqual({ key: hex('gone'), value: null });
    expect(texts(tombstone).get('millrace-offset')).toBe(`${bad.length}`);

    // kcat prints bytes that are no text as they are; where they are text it says the same.
    for (const [i, record] of kcatTopic(letters).entries()) {
      const other = fromPython[i]!;
      if (i !== 1 && i !== 2) expect(record.payload).toBe(bad[i]?.bytes.toString() ?? null);
      expect(record.key === null ? null : hex(record.key)).toBe(other.key);
      expect(record.headers!.map(hex)).toEqual(other.headers.flatMap(([name, value]) => [hex(name), value]));
    }
    const counted = async () => {
      const { body } = await postJson(`${server.url}/v1/services/card/features`, { entities: { card: 'k' } });
      return (body as { features: { payments_ever: number } }).features.payments_ever === 1;
    };
    await waitUntil(counted, { what: 'the good event is counted', timeoutMs: WAIT_MS });
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
