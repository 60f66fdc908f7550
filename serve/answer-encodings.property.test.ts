/**
 * The same questions put to random services, answered as JSON, MessagePack and Arrow: the values are the same, read by
 * implementations that are not those that wrote them (@msgpack/msgpack, Flechette), and 64-bit integers are exact.
 *
 * What it does not catch: keys `__proto__` of maps, which @msgpack/msgpack does not read; message-pack.test.ts has them.
 */
import { decode } from '@msgpack/msgpack';
import { describe, expect, test } from 'vitest';
import { type Embedded, openInMemory } from '../embedded/runtime.ts';
import { ManualClock } from '../engine/clock.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import {
  boolean,
  collectSet,
  compileRepo,
  count,
  double,
  entity,
  featureService,
  featureView,
  first,
  histogram,
  integer,
  last,
  lastN,
  long,
  max,
  mean,
  onDemandFeature,
  percentiles,
  streamSource,
  string,
  sum,
  timestamp,
  topKFrequent,
} from '../index.ts';
import { ARROW_STREAM_TYPE } from './content-types.ts';
import { decodeArrow } from './testing/decoded-arrow.ts';

const NOON_MS = Date.UTC(2026, 2, 2, 12);
const HOUR_MS = 3_600_000;
const SEEDS = Array.from({ length: 8 }, (_, i) => i + 1);

const source = streamSource({
  name: 'things',
  columns: {
    id: string(),
    at: timestamp(),
    key: string(),
    text: string({ nullable: true }),
    whole: integer({ nullable: true }),
    big: long({ nullable: true }),
    real: double({ nullable: true }),
    yes: boolean({ nullable: true }),
    since: timestamp({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});

const key = entity('key');
const view = featureView({
  name: 'everything',
  source,
  entity: key,
  features: {
    n: count().over('1h'),
    n_ever: count().lifetime(),
    big_sum: sum('big').over('2h'),
    whole_sum: sum('whole').over('2h'),
    real_sum: sum('real').over('2h'),
    real_mean: mean('real').over('2h'),
    big_max: max('big').over('2h'),
    text_last: last('text').over('2h'),
    big_last: last('big').over('2h'),
    yes_last: last('yes').over('2h'),
    since_last: last('since').over('2h'),
    texts: lastN('text', 4).over('2h'),
    bigs: lastN('big', 4).over('2h'),
    reals: lastN('real', 4).over('2h'),
    answers: lastN('yes', 4).over('2h'),
    sinces: lastN('since', 4).over('2h'),
    text_set: collectSet('text', { max: 5 }).over('2h'),
    top_texts: topKFrequent('text', 3).over('2h'),
    top_bigs: topKFrequent('big', 3).over('2h'),
    quartiles: percentiles('real', [25, 50, 75]).over('2h'),
    bars: histogram('real', [0, 10, 1_000]).over('2h'),
    n_by_text: count().by('text').over('2h'),
    big_by_text: sum('big').by('text').over('2h'),
    big_last_by_yes: last('big').by('yes').over('2h'),
    bigs_by_text: lastN('big', 2).by('text').over('2h'),
    n_series: count().series({ start: '3h', size: '1h' }),
    big_series: last('big').series({ start: '3h', size: '1h' }),
    by_text_series: sum('big').by('text').series({ start: '2h', size: '1h' }),
    __proto: first('text').over('1h'),
    constructor: count().over('2h'),
    toJSON: last('text').over('1h'),
  },
});

const ratio = onDemandFeature({
  name: 'ratio',
  type: 'double',
  inputs: { n: view.feature.n, ever: view.feature.n_ever },
  compute: ({ features }) => features.n / features.ever,
});
const huge = onDemandFeature({
  name: 'huge',
  type: 'long',
  compute: ({ atMs }) => BigInt(atMs) * 1_000_003n,
});
const broken = onDemandFeature({
  name: 'broken',
  type: 'string',
  compute: ({ atMs }) => {
    if (atMs % 2 === 0) throw new Error('even');
    return 'odd';
  },
});

const LONGS = [
  0,
  1,
  -7,
  '9007199254740993',
  '-9007199254740993',
  '9223372036854775807',
  '-9223372036854775808',
];
const TEXTS = ['', 'a', '7', '12', 'toString', 'constructor', 'ключ', '🔑', '\u0000"\\'];

function randomEvent(random: SeededRandom, i: number): object {
  const maybe = <T>(value: T): T | null => (random.chance(0.2) ? null : value);
  return {
    id: `e${i}`,
    at: NOON_MS - random.below(4 * HOUR_MS),
    key: random.pick(['k1', 'k2']),
    text: maybe(random.pick(TEXTS)),
    whole: maybe(random.pick([0, -1, 2 ** 31, 2 ** 32, 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER])),
    big: maybe(random.pick(LONGS)),
    real: maybe(random.pick([0, -0.5, 0.1, 1e100, -1e16, 123, 5e-324, 2 ** 53])),
    yes: maybe(random.chance(0.5)),
    since: maybe(random.below(NOON_MS)),
  };
}

function randomService(random: SeededRandom) {
  const features = Object.values(view.feature).filter(() => random.chance(0.6));
  const onDemand = [ratio, huge, broken].filter(() => random.chance(0.7));
  const all = [...features, ...onDemand];
  return featureService({ name: 'random', features: all.length === 0 ? [huge] : all });
}

/** As JSON has it: integers beyond ±(2⁵³ − 1) as decimal text, maps as objects. */
function asJson(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (Array.isArray(value)) return value.map(asJson);
  const entries = value instanceof Map ? [...value] : null;
  if (entries !== null) {
    // Not by assignment: a key may be `__proto__`.
    return Object.fromEntries(entries.map(([name, own]) => [name, asJson(own)]));
  }
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, asJson(own)]));
  return value;
}

/** Pairs of `top_k_frequent` are structs there. */
const pairs = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map((pair: { value: unknown; count: unknown }) => [pair.value, pair.count])
    : value;

async function ask(engine: Embedded, path: string, body: object, accept: string): Promise<Buffer> {
  const response = await engine.app.inject({
    method: 'POST',
    url: `/v1/services/random/${path}`,
    headers: { 'content-type': 'application/json', accept },
    payload: JSON.stringify(body),
  });
  expect([response.statusCode, String(response.headers['content-type']).split(';')[0]]).toEqual([
    200,
    accept,
  ]);
  return response.rawPayload;
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape.
type Any = any;

/** Text whose integers beyond 2⁵³ are quoted: parsing it loses nothing. */
const parsed = (json: Buffer): Any => JSON.parse(json.toString('utf8'));
const unpacked = (bytes: Buffer): Any => decode(bytes, { useBigInt64: true });

describe('JSON, MessagePack and Arrow say the same', () => {
  test.each(SEEDS)('seed %i', async (seed) => {
    const random = new SeededRandom(seed);
    const service = randomService(random);
    const engine = await openInMemory({
      repo: compileRepo([service]),
      wallClock: new ManualClock(NOON_MS),
      processMetrics: false,
    });
    try {
      if (engine.push.gateway('things') !== undefined) {
        const events = Array.from({ length: random.below(60) }, (_, i) => randomEvent(random, i));
        const pushed = await engine.push.push('things', events, { wait: 'applied' });
        expect(pushed.rejected).toEqual([]);
      }
      const rows = Array.from({ length: random.between(0, 90) }, () =>
        random.chance(0.1)
          ? random.pick([{ at: 'never' }, { entities: { who: 1 } }, 3])
          : { entities: { key: random.pick(['k1', 'k2', 'k3']) }, at: NOON_MS - random.below(3 * HOUR_MS) },
      );
      const usesKey =
        service.features.some(({ kind }) => kind !== 'on_demand_feature') || service.features.includes(ratio);
      const questions = rows.map((row) =>
        usesKey || typeof row === 'number' || !('entities' in row) || 'who' in row.entities!
          ? row
          : { at: row.at },
      );
      for (const metadata of [false, true]) {
        const json = parsed(
          await ask(engine, 'features/batch', { rows: questions, metadata }, 'application/json'),
        );
        const packed = unpacked(
          await ask(engine, 'features/batch', { rows: questions, metadata }, 'application/msgpack'),
        );
        expect(asJson(packed)).toEqual(json);
        const table = decodeArrow(
          await ask(engine, 'features/batch', { rows: questions, metadata }, ARROW_STREAM_TYPE),
        );
        compareArrow(table, json.rows);
        for (const question of questions.slice(0, 3)) {
          if (typeof question === 'number' || !('at' in question) || question.at === 'never') continue;
          const one = { ...question, metadata };
          const alone = parsed(await ask(engine, 'features', one, 'application/json'));
          expect(asJson(unpacked(await ask(engine, 'features', one, 'application/vnd.msgpack')))).toEqual(
            alone,
          );
        }
      }
    } finally {
      await engine.close();
    }
  });
});

/** Sums may be larger: the one kind of value that Arrow's columns do not take. */
function fitsInt64(value: unknown): boolean {
  if (typeof value === 'string')
    return !/^-?\d{19,}$/.test(value) || BigInt.asIntN(64, BigInt(value)) === BigInt(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(fitsInt64);
}

function compareArrow({ rows }: ReturnType<typeof decodeArrow>, json: Any[]): void {
  expect(rows).toHaveLength(json.length);
  rows.forEach((row, r) => {
    const { error, features, metadata } = json[r]!;
    const text = (name: string): Any => {
      const value = row.get(name) as string | null;
      return value === null ? undefined : JSON.parse(value);
    };
    expect(text('row.error')).toEqual(error);
    if (error !== undefined) {
      for (const [name, value] of row) if (name !== 'row.error') expect([name, value]).toEqual([name, null]);
      return;
    }
    const own = text('row.metadata');
    const lost = new Set<string>();
    for (const [name, value] of Object.entries(features)) {
      const status = row.get(`${name}.status`);
      const found = row.get(name);
      if (!fitsInt64(value)) {
        expect([name, status, found]).toEqual([name, 'error', null]);
        lost.add(name);
        continue;
      }
      expect([name, asJson(name.startsWith('top_') ? pairs(found) : found)]).toEqual([name, value]);
      const said = metadata?.features[name]?.status;
      expect(['present', 'empty', 'error']).toContain(status);
      if (said !== undefined) expect([name, status]).toEqual([name, said]);
    }
    if (lost.size === 0) {
      expect(own).toEqual(metadata);
      if (metadata !== undefined) expect(row.get('row.at')).toBe(metadata.at_ms);
    } else for (const name of lost) expect(own.features[name].status).toBe('error');
  });
}
