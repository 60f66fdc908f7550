/**
 * Windows of sequence operations against the oracle: events in order and late ones, ties of one millisecond, trees of
 * every depth, expiry, and questions about an event that stands in the middle of what is stored.
 *
 * What it does not catch: late rows that are still in the tail. Every late row is folded before values are read, as
 * the write path has to see to in views with ordered partials.
 */
import { describe, expect, test } from 'vitest';
import { changes, count, lastN, maxByN, maxGap, minGap, topN } from '../definitions/aggregation.ts';
import { integer, string, timestamp } from '../definitions/column.ts';
import { entity } from '../definitions/entity.ts';
import { featureView } from '../definitions/feature-view.ts';
import { streamSource } from '../definitions/stream-source.ts';
import type { EventRow } from '../definitions/types.ts';
import { integerEventId } from '../event-id.ts';
import { oracleValue } from '../testing/oracle.ts';
import { SeededRandom } from '../testing/random.ts';
import { SingleView } from '../testing/single-view.ts';
import { checkTree } from '../testing/tree-check.ts';
import { DEPTH_MAX } from '../tiles/grid.ts';
import type { TileShape } from '../tiles/tile-shape.ts';

const source = streamSource({
  name: 'events',
  columns: {
    id: integer(),
    at: timestamp(),
    card: string(),
    kind: string({ nullable: true }),
    amount: integer(),
  },
  eventTime: 'at',
  eventId: 'id',
  lateness: 0,
});

const sequences = featureView({
  name: 'sequences',
  source,
  entity: entity('card'),
  features: {
    max_gap_5s: maxGap().over('5s'),
    max_gap_1m: maxGap().over('1m'),
    max_gap_4m: maxGap().over('4m'),
    min_gap_1m: minGap().over('1m'),
    max_gap_kind: maxGap('kind').over('4m'),
    min_gap_kind: minGap('kind').over('1m', { offset: '7s', default: -1 }),
    changes_5s: changes('kind').over('5s'),
    changes_4m: changes('kind').over('4m'),
    changes_late: changes('amount').over('1m', { offset: '7s' }),
    count_1m: count().over('1m'),
    last_4m: lastN('kind', 3).over('4m'),
    top_4m: topN('amount', 3).over('4m'),
    top_kind: maxByN('kind', { by: 'amount', n: 3 }).over('1m'),
    // Expired rows go to a prefix that no sequence is read from.
    count_ever: count().lifetime(),
  },
  asOfRetention: '1m',
});

const KEY = 'c';
const START_MS = 1_700_000_000_000;

class Run {
  readonly #random: SeededRandom;
  readonly #shape: TileShape;
  readonly #stored: SingleView;
  readonly #events: EventRow[] = [];
  readonly #ids = new Set<number>();
  readonly #stepMs: number;
  /** Of the newest event stored. */
  #newestMs = START_MS;
  compared = 0;
  depthMax = 0;
  late = 0;
  inside = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#shape = {
      leafBytesMax: this.#random.pick([40, 80, 200, 1_000]),
      tailRowsMax: this.#random.pick([3, 40]),
    };
    this.#stored = new SingleView(sequences, { startMs: START_MS, shape: this.#shape, foldAfterMs: 1 });
    this.#stepMs = this.#random.pick([3, 400, 4_000]);
  }

  #event(timeMs: number): EventRow {
    const random = this.#random;
    let id = random.between(-1_000_000, 1_000_000);
    while (this.#ids.has(id)) id++;
    this.#ids.add(id);
    const kind = random.chance(0.2) ? null : random.pick(['a', 'b', 'c']);
    return { id, at: timeMs, card: KEY, kind, amount: random.below(4) };
  }

  async #apply(rows: readonly EventRow[]): Promise<void> {
    await this.#stored.apply(rows);
    this.#events.push(...rows);
  }

  /** Behind everything stored: some of one millisecond, in any order of their ids. */
  async applyNewest(): Promise<void> {
    const random = this.#random;
    const rows: EventRow[] = [];
    this.#newestMs++;
    for (let n = random.between(1, 12); n > 0; n--) {
      rows.push(this.#event(this.#newestMs));
      if (random.chance(0.6)) this.#newestMs += random.below(this.#stepMs);
    }
    await this.#apply(rows);
    this.#stored.clock.advanceTo(Math.max(this.#stored.clock.nowMs(), this.#newestMs));
  }

  /** Into and between what is folded; then all is folded. */
  async applyLate(): Promise<void> {
    const random = this.#random;
    const rows: EventRow[] = [];
    for (let n = random.between(0, 6); n > 0; n--) {
      const near = random.pick(this.#events).at as number;
      rows.push(this.#event(Math.max(0, near + random.pick([0, 0, -1, 1, random.between(-9_000, 9_000)]))));
    }
    rows.splice(0, rows.length, ...rows.filter(({ at }) => (at as number) <= this.#newestMs));
    this.late += rows.length;
    if (rows.length > 0) await this.#apply(rows);
    this.#stored.clock.advanceTo(this.#stored.clock.nowMs() + random.pick([10, 1_000, 20_000]));
    this.#newestMs = Math.max(this.#newestMs, this.#stored.clock.nowMs() - 5);
    await this.#stored.compact();
    this.#checkTree();
  }

  #checkTree(): void {
    for (const fields of this.#stored.tracker.statesOf(this.#stored.view.namespace)) {
      this.depthMax = Math.max(this.depthMax, checkTree(this.#stored.view, this.#shape, fields).depthMax);
    }
  }

  async check(): Promise<void> {
    const random = this.#random;
    const { view, clock } = this.#stored;
    for (let i = 0; i < 15; i++) {
      const near = random.pick(this.#events).at as number;
      const atMs = near + random.pick([0, 0, -1, 1, 5_000, 60_000, 7_000, 67_000, random.below(200_000)]);
      if (atMs < clock.nowMs() - view.asOfRetentionMs) continue;
      const asked = random.chance(0.6) ? this.#asked(atMs) : null;
      await this.#compare(atMs, asked);
    }
  }

  /** One that is stored or a new one, at the as-of time, within a window, or at a stored event's time. */
  #asked(atMs: number): EventRow {
    const random = this.#random;
    const recorded = random.pick(this.#events);
    const nowMs = this.#stored.clock.nowMs();
    // Of expired rows nobody can say whether they were recorded.
    if (random.chance(0.2) && (recorded.at as number) > nowMs - 60_000) return recorded;
    const timeMs = random.pick([
      atMs,
      atMs - random.below(5_000),
      atMs - random.below(240_000),
      recorded.at as number,
    ]);
    return this.#event(Math.max(0, timeMs));
  }

  async #compare(atMs: number, asked: EventRow | null): Promise<void> {
    const { view } = this.#stored;
    const rows = asked === null || this.#events.includes(asked) ? this.#events : [...this.#events, asked];
    if (rows.length > this.#events.length && (asked!.at as number) < atMs) this.inside++;
    const events = rows.map((row) => ({
      timeMs: row.at as number,
      id: integerEventId(row.id as number),
      row,
    }));
    const last = asked?.at === atMs ? { last: integerEventId(asked.id as number) } : {};
    const got = await this.#stored.values(KEY, atMs, asked);
    for (const feature of view.features) {
      const { column } = view.definition.features[feature.name]!;
      const expected = oracleValue({ view, feature, column, key: KEY, atMs, events, ...last });
      expect(got[feature.name], `${feature.name} at ${atMs}, asked ${JSON.stringify(asked)}`).toEqual(
        expected,
      );
      this.compared++;
    }
  }
}

describe('windows of sequence operations equal the oracle', () => {
  const met = { compared: 0, depthMax: 0, late: 0, inside: 0 };

  test.each([1, 2, 3, 4])('block %i of seeds', async (block) => {
    for (let seed = block * 1000; seed < block * 1000 + 6; seed++) {
      const run = new Run(seed);
      try {
        for (let round = 0; round < 8; round++) {
          await run.applyNewest();
          await run.check();
          await run.applyLate();
          await run.check();
        }
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
      }
      met.compared += run.compared;
      met.depthMax = Math.max(met.depthMax, run.depthMax);
      met.late += run.late;
      met.inside += run.inside;
    }
  });

  test('with late rows, deep trees and asked events among them', () => {
    expect(met.compared).toBeGreaterThan(20_000);
    expect(met.depthMax).toBe(DEPTH_MAX);
    expect(met.late).toBeGreaterThan(300);
    expect(met.inside).toBeGreaterThan(500);
  });
});

describe('late events into a state past its bound', () => {
  const HOUR_MS = 3_600_000;
  const DAY_MS = 24 * HOUR_MS;
  const bounded = featureView({
    name: 'bounded',
    source,
    entity: entity('card'),
    features: {
      max_gap_20d: maxGap().over('20d'),
      min_gap_20d: minGap().over('20d'),
      changes_20d: changes('kind').over('20d'),
      changes_1h: changes('kind').over('1h'),
      changes_before: changes('kind').over('2d', { offset: '15d' }),
      count_20d: count().over('20d'),
    },
    maxStateBytes: 2 ** 16,
  });

  /** Every two minutes for 20 days; late ones each half a minute behind another. */
  async function stored(lateDaysAgo: readonly number[]) {
    const startMs = START_MS - (START_MS % DAY_MS);
    const endMs = startMs + 20 * DAY_MS;
    const single = new SingleView(bounded, { startMs });
    const rows: EventRow[] = [];
    const event = (at: number, kind: string): EventRow => ({
      id: rows.length,
      at,
      card: KEY,
      kind,
      amount: 1,
    });
    for (let at = startMs + 1; at <= endMs; ) {
      const from = rows.length;
      for (; rows.length < from + 1000 && at <= endMs; at += 120_000) rows.push(event(at, 'a'));
      single.clock.advanceTo(rows.at(-1)!.at as number);
      await single.apply(rows.slice(from));
      await single.compact();
    }
    const from = rows.length;
    for (const days of lateDaysAgo) rows.push(event(endMs - days * DAY_MS + 30_001, 'b'));
    single.clock.advanceTo(endMs);
    if (rows.length > from) await single.apply(rows.slice(from));
    const { values } = await single.read(KEY, endMs);
    return { endMs, rows, values: new Map(values.map((value) => [value.feature.name, value])) };
  }

  test.each([
    [[], 20],
    // So new rows are all there yet.
    [[6], 20],
    [[13], 13],
    [[15, 6.5, 13.5], 13.5],
    [[16, 19], 16],
  ])(
    'of %j days ago have sequences begin behind them, where the metadata says so',
    async (lateDaysAgo, untouchedDays) => {
      const { endMs, rows, values } = await stored(lateDaysAgo);
      for (const [name, { feature, value, status, fromMs, toMs }] of values) {
        const counted = rows
          .filter(({ at }) => fromMs! < (at as number) && (at as number) <= toMs)
          .sort((a, b) => (a.at as number) - (b.at as number));
        const gaps = counted.slice(1).map(({ at }, i) => (at as number) - (counted[i]!.at as number));
        const differing = counted.slice(1).filter(({ kind }, i) => kind !== counted[i]!.kind).length;
        const expected = {
          max_gap: gaps.length === 0 ? feature.empty : Math.max(...gaps),
          min_gap: gaps.length === 0 ? feature.empty : Math.min(...gaps),
          changes: counted.length === 0 ? feature.empty : differing,
          count: counted.length,
        }[feature.operation.name];
        expect(value, name).toEqual(expected);
        if (name === 'changes_1h') expect(status).toBe('present');
        if (!name.endsWith('20d') || feature.operation.name === 'count') continue;
        if (untouchedDays < 20) expect(status).toBe('coarse');
        // Nothing is given up that need not be: at most a tile of an upper level beyond the newest late event.
        expect(endMs - fromMs!, name).toBeGreaterThan((untouchedDays - 1.6) * DAY_MS);
        expect(endMs - fromMs!, name).toBeLessThan(untouchedDays * DAY_MS + HOUR_MS);
      }
      expect(values.get('count_20d')!.value).toBe(rows.length);
    },
  );
});
