/**
 * `maxAge`: a value is stale where the newest event that counts in it is older than that, by brute force; and but for its status and
 * age it is the one without. Random events with nulls and conditions, compacted on the way, at times beside the edges.
 */
import { describe, expect, test } from 'vitest';
import {
  boolean,
  count,
  entity,
  featureView,
  integer,
  last,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';
import type { EventRow } from '../definitions/types.ts';
import { SeededRandom } from '../testing/random.ts';
import { SingleView } from '../testing/single-view.ts';

const FIRST_SEED = Number(process.env.TEST_SEED ?? 1);
const SEEDS = 60;
const BASE_MS = 1_700_000_000_000;
const MINUTE_MS = 60_000;

const source = streamSource({
  name: 's',
  columns: {
    id: integer(),
    at: timestamp(),
    k: string(),
    zip: string({ nullable: true }),
    ok: boolean({ nullable: true }),
    n: integer(),
  },
  eventTime: 'at',
  eventId: 'id',
});

/** What counts, and within which window: over (T − offset − size, T − offset]. */
interface Case {
  readonly column: 'zip' | 'n' | null;
  readonly where: boolean;
  readonly sizeMs: number;
  readonly offsetMs: number;
  readonly maxAgeMs: number;
}

const CASES: Readonly<Record<string, Case>> = {
  zip: { column: 'zip', where: false, sizeMs: Infinity, offsetMs: 0, maxAgeMs: 10 * MINUTE_MS },
  zip_late: {
    column: 'zip',
    where: false,
    sizeMs: Infinity,
    offsetMs: 5 * MINUTE_MS,
    maxAgeMs: 12 * MINUTE_MS,
  },
  zip_1h: { column: 'zip', where: false, sizeMs: 60 * MINUTE_MS, offsetMs: 0, maxAgeMs: 3 * MINUTE_MS },
  n_ok: { column: 'n', where: true, sizeMs: Infinity, offsetMs: 0, maxAgeMs: 10 * MINUTE_MS },
  zip_ok: { column: 'zip', where: true, sizeMs: 60 * MINUTE_MS, offsetMs: 0, maxAgeMs: 1 },
  rows: { column: null, where: false, sizeMs: Infinity, offsetMs: 0, maxAgeMs: 10 * MINUTE_MS },
};

function features(aged: boolean) {
  const age = (maxAge: number): { readonly maxAge?: number } => (aged ? { maxAge } : {});
  return {
    zip: last('zip').lifetime(age(10 * MINUTE_MS)),
    zip_late: last('zip').lifetime({ offset: '5m', ...age(12 * MINUTE_MS) }),
    zip_1h: last('zip').over('1h', age(3 * MINUTE_MS)),
    n_ok: sum('n')
      .where('ok')
      .lifetime(age(10 * MINUTE_MS)),
    zip_ok: last('zip').where('ok').over('1h', age(1)),
    rows: count().lifetime(age(10 * MINUTE_MS)),
    unaged: last('zip').lifetime(),
  };
}

const viewOf = (aged: boolean) =>
  featureView({
    name: aged ? 'aged' : 'plain',
    source,
    entity: entity('k'),
    features: features(aged),
    asOfRetention: '30d',
  });

/** Time of the newest event that counts; null: there is none. */
function newestMs(
  events: readonly EventRow[],
  { column, where, sizeMs, offsetMs }: Case,
  atMs: number,
): number | null {
  const times = events
    .filter((event) => !where || event.ok === true)
    .filter((event) => column === null || event[column] !== null)
    .map((event) => Number(event.at))
    .filter((timeMs) => timeMs <= atMs - offsetMs && timeMs > atMs - offsetMs - sizeMs);
  return times.length === 0 ? null : Math.max(...times);
}

async function run(seed: number): Promise<number> {
  const random = new SeededRandom(seed);
  const events: EventRow[] = Array.from({ length: random.pick([0, 1, 5, 60]) }, (_, id) => ({
    ...{ id, k: 'k', n: id, at: BASE_MS + random.below(100) * MINUTE_MS },
    zip: random.chance(0.5) ? null : `z${random.below(5)}`,
    ok: random.pick([null, true, false, false]),
  }));
  const nowMs = BASE_MS + 110 * MINUTE_MS;
  const options = { startMs: nowMs, shape: { ...SHAPE } };
  const [aged, plain] = [new SingleView(viewOf(true), options), new SingleView(viewOf(false), options)];
  for (let from = 0; from < events.length; from += 7) {
    for (const view of [aged, plain]) {
      await view.apply(events.slice(from, from + 7));
      if (random.chance(0.7)) await view.compact();
    }
  }
  let stale = 0;
  for (let n = 0; n < 40; n++) {
    const near = events.length === 0 ? BASE_MS : Number(random.pick(events).at);
    const { maxAgeMs, offsetMs } = random.pick(Object.values(CASES));
    const atMs = Math.min(
      nowMs,
      near + random.pick([0, maxAgeMs, offsetMs, maxAgeMs + offsetMs]) + random.between(-1, 1),
    );
    const [got, without] = [await aged.read('k', atMs), await plain.read('k', atMs)];
    for (const value of got.values) {
      const { name } = value.feature;
      const same = without.values.find(({ feature }) => feature.name === name)!;
      expect(value.value, name).toEqual(same.value);
      const own = CASES[name];
      const timeMs = own === undefined ? null : newestMs(events, own, atMs);
      const isStale = timeMs !== null && atMs - timeMs > own!.maxAgeMs;
      expect({ status: value.status, ageMs: value.ageMs }, `${name} at ${atMs - BASE_MS}`).toEqual(
        isStale ? { status: 'stale', ageMs: atMs - timeMs } : { status: same.status, ageMs: undefined },
      );
      if (isStale) stale++;
    }
  }
  return stale;
}

const SHAPE = { leafBytesMax: 200, tailRowsMax: 4 };

describe('maxAge', () => {
  test(`is what brute force says it is (TEST_SEED=${FIRST_SEED})`, async () => {
    let stale = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      try {
        stale += await run(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(stale).toBeGreaterThan(100);
  });

  test('costs views nothing that have none, and is no part of the identity but for being there', () => {
    const namespaceOf = (maxAge?: `${number}d`): { namespace: string; partials: number } => {
      const { view } = new SingleView(
        featureView({
          ...{ name: 'v', source, entity: entity('k') },
          features: { zip: last('zip').lifetime(maxAge === undefined ? {} : { maxAge }) },
        }),
        { startMs: BASE_MS },
      );
      return { namespace: view.namespace, partials: view.partials.length };
    };
    expect(namespaceOf('1d')).toEqual(namespaceOf('2d'));
    expect(namespaceOf('1d').namespace).not.toBe(namespaceOf().namespace);
    expect([namespaceOf().partials, namespaceOf('1d').partials]).toEqual([1, 2]);
  });
});
