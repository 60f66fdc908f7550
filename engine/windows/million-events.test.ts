/**
 * One key of a million events, as a hot card or terminal would have: values at random times against sorted arrays
 * and prefix sums, and what a read costs (C8).
 *
 * What it does not catch: order, ties and rounding; the property tests beside it do.
 */
import { describe, expect, test } from 'vitest';
import {
  count,
  entity,
  featureView,
  integer,
  last,
  mean,
  stddevSamp,
  streamSource,
  timestamp,
} from '../../index.ts';
import { double } from '../definitions/column.ts';
import type { EventRow } from '../definitions/types.ts';
import { SeededRandom } from '../testing/random.ts';
import { SingleView } from '../testing/single-view.ts';
import { checkTree } from '../testing/tree-check.ts';
import { DEFAULT_TILE_SHAPE } from '../tiles/tile-shape.ts';

const EVENTS = 1_000_000;
const BATCH = 2_000;
const DAYS = 40;
const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2018, 3, 1);
const END_MS = START_MS + DAYS * DAY_MS;
const READS = 1_000;
const READ_BYTES_MAX = 32 * 1024;

const source = streamSource({
  name: 'payments',
  columns: { id: integer(), at: timestamp(), card: integer(), amount: double() },
  eventTime: 'at',
  eventId: 'id',
  dedupeHorizon: '5m',
});

/** As `customer_spend` in examples/card-fraud: four edges, three sums. */
const spend = featureView({
  name: 'spend',
  source,
  entity: entity('card'),
  features: {
    n_1d: count().over('1d'),
    mean_1d: mean('amount').over('1d'),
    n_7d: count().over('7d'),
    mean_7d: mean('amount').over('7d'),
    n_30d: count().over('30d'),
    mean_30d: mean('amount').over('30d'),
    stddev_30d: stddevSamp('amount').over('30d'),
    last_at: last('at').over('30d'),
  },
  asOfRetention: '2d',
  // Exact, whatever it takes.
  maxStateBytes: 2 ** 30,
});

class Reference {
  readonly times = new Float64Array(EVENTS);
  readonly cents = new Float64Array(EVENTS);
  readonly #sums = new Float64Array(EVENTS + 1);
  readonly #squares = new Float64Array(EVENTS + 1);

  constructor(random: SeededRandom) {
    const times = Array.from(
      { length: EVENTS },
      () => START_MS + Math.floor((random.uint32() / 2 ** 32) * DAYS * DAY_MS),
    );
    times.sort((a, b) => a - b);
    this.times.set(times);
    for (let i = 0; i < EVENTS; i++) {
      const cents = random.below(10_000);
      this.cents[i] = cents;
      this.#sums[i + 1] = this.#sums[i]! + cents;
      this.#squares[i + 1] = this.#squares[i]! + cents * cents;
    }
  }

  /** How many events have a time ≤ `timeMs`. */
  #upTo(timeMs: number): number {
    let low = 0;
    let high = EVENTS;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.times[middle]! <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  window(
    fromMs: number,
    toMs: number,
  ): { from: number; to: number; n: number; cents: number; squares: number } {
    const from = this.#upTo(fromMs);
    const to = this.#upTo(toMs);
    const cents = this.#sums[to]! - this.#sums[from]!;
    return { from, to, n: to - from, cents, squares: this.#squares[to]! - this.#squares[from]! };
  }

  values(atMs: number): Record<string, number | null> {
    const over = (sizeMs: number) => this.window(atMs - sizeMs, atMs);
    const day = over(DAY_MS);
    const week = over(7 * DAY_MS);
    const month = over(30 * DAY_MS);
    return {
      n_1d: day.n,
      mean_1d: day.cents / 100 / day.n,
      n_7d: week.n,
      mean_7d: week.cents / 100 / week.n,
      n_30d: month.n,
      mean_30d: month.cents / 100 / month.n,
      stddev_30d: Math.sqrt((month.squares - month.cents ** 2 / month.n) / 1e4 / (month.n - 1)),
      last_at: this.times[month.to - 1]!,
    };
  }
}

describe('one key of a million events', () => {
  test('values are right at random times, and a read stays under 32 kB', async () => {
    const random = new SeededRandom(20_180_401);
    const reference = new Reference(random);
    const state = new SingleView(spend, { startMs: START_MS });
    const began = performance.now();
    let compactions = 0;
    for (let at = 0; at < EVENTS; at += BATCH) {
      const rows: EventRow[] = [];
      for (let i = at; i < at + BATCH; i++) {
        rows.push({ id: i, at: reference.times[i]!, card: 7, amount: reference.cents[i]! / 100 });
      }
      // Within a batch out of order.
      for (let i = BATCH - 1; i > 0; i--) {
        const j = random.below(i + 1);
        [rows[i], rows[j]] = [rows[j]!, rows[i]!];
      }
      state.clock.advanceTo(Math.max(state.clock.nowMs(), reference.times[at + BATCH - 1]!));
      await state.apply(rows);
      if ((at / BATCH) % 5 === 0) compactions += await state.compact();
    }
    const writeS = (performance.now() - began) / 1000;
    state.clock.advanceTo(END_MS);
    compactions += await state.compact();
    expect(compactions).toBeGreaterThan(50);

    const fields = [...state.tracker.statesOf(state.view.namespace)][0]!;
    const facts = checkTree(state.view, DEFAULT_TILE_SHAPE, fields);
    let stateBytes = 0;
    for (const bytes of fields.values()) stateBytes += bytes.length;
    const retained = reference.window(END_MS - 32 * DAY_MS, END_MS).n;
    // What no window reaches is gone, a stride of 1/16 of the retention aside.
    expect(facts.rowCount).toBeGreaterThan(0.95 * retained);
    expect(facts.rowCount).toBeLessThan(1.1 * retained);

    const bytes: number[] = [];
    let fieldsRead = 0;
    const readBegan = performance.now();
    for (let i = 0; i < READS; i++) {
      const anchor = reference.times[random.below(EVENTS)]!;
      // Half of them exactly on an event's time or exactly a window after it.
      const near = anchor + random.pick([0, DAY_MS, 7 * DAY_MS, 30 * DAY_MS]) + random.between(-1, 1);
      const oldestMs = END_MS - 2 * DAY_MS;
      const atMs = near >= oldestMs && near <= END_MS ? near : random.between(0, 2 * DAY_MS) + oldestMs;
      const { values, cost } = await state.read('7', atMs);
      bytes.push(cost.bytes);
      fieldsRead += cost.present;
      const expected = reference.values(atMs);
      for (const { feature, value, status } of values) {
        expect(status).toBe('present');
        const right = expected[feature.name]!;
        const tolerance = /mean|stddev/.test(feature.name) ? 1e-9 * Math.abs(right!) : 0;
        if (Math.abs((value as number) - right!) > tolerance) {
          expect.fail(`${feature.name} at ${atMs}: expected ${right}, got ${value}`);
        }
      }
    }
    const readMs = (performance.now() - readBegan) / READS;
    bytes.sort((a, b) => a - b);
    console.log(
      `${EVENTS} events of one key written in ${writeS.toFixed(1)} s; ${READS} reads of ${state.view.features.length} features, ` +
        `${readMs.toFixed(2)} ms each with the comparison; bytes per read: median ${bytes[READS / 2]}, most ${bytes.at(-1)}; ` +
        `fields present per read: ${(fieldsRead / READS).toFixed(1)}; state: ${(stateBytes / 2 ** 20).toFixed(1)} MiB ` +
        `in ${fields.size} fields for ${facts.rowCount} rows (${(stateBytes / facts.rowCount).toFixed(1)} bytes a row), ` +
        `depth ${facts.depthMax}`,
    );
    expect(bytes.at(-1)).toBeLessThanOrEqual(READ_BYTES_MAX);
  }, 300_000);
});
