/**
 * A read against what one would write by hand: a sorted set per key (score: event time, member: `id:amount`), its
 * members of the window fetched with ZRANGEBYSCORE and summed in the client. Same events, same Redis, in turns; each
 * answer of the one is compared with the other's.
 *
 * What is compared with leaves out what a velocity counter needs besides: nothing is told twice, nothing expires.
 */
import type { Histogram } from 'hdr-histogram-js';
import { Redis } from 'ioredis';
import type { TileStore } from '../../engine/store/tile-store.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { parseDurationMs } from '../../engine/windows/duration.ts';
import { latencyHistogram, recordMs } from '../latency.ts';
import { type Ratio, ratioOf } from '../report.ts';
import { CardEvents, DAY_MS, END_MS, serviceOf, WINDOWS } from './card-events.ts';
import { DirectStore } from './direct-store.ts';
import { questionOf, readerOf } from './scaling.ts';
import { copyState, ViewLoad } from './view-load.ts';

export const BY_HAND_SIZES: readonly number[] = [100, 10_000, 1_000_000];

export interface ByHandOptions {
  readonly sizes: readonly number[];
  /** A single Redis. */
  readonly store: TileStore;
  readonly redisUrl: string;
  /** Of each side of each figure. */
  readonly seconds: number;
  readonly seed: number;
  readonly questions: number;
  readonly onProgress: (text: string) => void;
}

interface Latency {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly reads: number;
}

export interface ByHandRow {
  readonly features: string;
  /** In 30 days, and so about as many in each read. */
  readonly events: number;
  readonly engine: Latency;
  readonly byHand: Latency;
  /** Of reads per second, engine to by hand. */
  readonly ratio: Ratio;
  readonly checksum: number;
}

const SPAN_DAYS = 30;
/** The view's as-of retention is a day. */
const QUESTIONS_MS = DAY_MS - 3_600_000;
const ROUNDS = 5;
const FIELDS_PER_WRITE = 500;
const MEMBERS_PER_CALL = 1_000;

/** Name of a feature → value. */
type Values = Map<string, number | null>;

interface Shape {
  readonly features: string;
  readonly only?: readonly string[];
  readonly byHand: (client: Redis, key: string, atMs: number) => Promise<Values>;
}

const SHAPES: readonly Shape[] = [
  { features: 'count and sum over 30 days', only: ['n_30d', 'sum_30d'], byHand: oneWindow },
  { features: 'count, sum, mean and max over 7 windows', byHand: allWindows },
];

export async function benchByHand(options: ByHandOptions): Promise<ByHandRow[]> {
  const client = new Redis(options.redisUrl);
  try {
    for (const events of options.sizes) await fill(client, options, events);
    const rows: ByHandRow[] = [];
    for (const shape of SHAPES) {
      for (const events of options.sizes) {
        options.onProgress(`by hand: ${shape.features}, ${events} events …`);
        rows.push(await measure(client, options, shape, events));
      }
    }
    return rows;
  } finally {
    client.disconnect();
  }
}

const keyOf = (events: number): string => `by-hand-${events}`;
const sortedSetOf = (key: string): string => `payments:${key}`;

async function fill(
  client: Redis,
  { store, seed, onProgress }: ByHandOptions,
  events: number,
): Promise<void> {
  onProgress(`by hand: filling ${events} events …`);
  const key = keyOf(events);
  const load = new ViewLoad(serviceOf('amount').view, new DirectStore());
  const members: (string | number)[] = [];
  await load.load(new CardEvents({ seed, card: key, events, spanMs: SPAN_DAYS * DAY_MS }), (chunk) => {
    for (const { id, at, amount } of chunk) members.push(at, `${id}:${amount}`);
  });
  const address = load.address(key);
  const state = { address, head: load.meter.headOf(address), fields: load.meter.fieldsOf(address) };
  await copyState(store, state, FIELDS_PER_WRITE);
  for (let at = 0; at < members.length; at += 2 * MEMBERS_PER_CALL)
    await client.zadd(sortedSetOf(key), ...members.slice(at, at + 2 * MEMBERS_PER_CALL));
}

async function measure(
  client: Redis,
  { store, seed, seconds, questions: count }: ByHandOptions,
  { features, only, byHand }: Shape,
  events: number,
): Promise<ByHandRow> {
  const key = keyOf(events);
  const reader = readerOf(serviceOf('amount', only).service, store);
  const random = new SeededRandom(seed);
  const questions = Array.from({ length: count }, () => END_MS - random.below(QUESTIONS_MS));
  const engine = async (atMs: number): Promise<Values> => {
    const [answers] = await reader.read([questionOf(key, atMs)]);
    return new Map(reader.output.map(({ name, slot }) => [name, answers![slot]!.value as number | null]));
  };
  let checksum = 0;
  // A million members take a second: not each of the questions.
  for (const atMs of questions.slice(0, 4)) {
    const answered = await engine(atMs);
    checkSame(answered, await byHand(client, key, atMs));
    for (const value of answered.values()) checksum += value ?? 0;
  }
  const sides = [
    { ask: engine, histogram: latencyHistogram(), rates: [] as number[] },
    {
      ask: (atMs: number) => byHand(client, key, atMs),
      histogram: latencyHistogram(),
      rates: [] as number[],
    },
  ] as const;
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { ask, histogram, rates } of sides) {
      const rate = await readFor(ask, questions, histogram, (1_000 * seconds) / ROUNDS);
      // The first round warms up.
      if (round > 0) rates.push(rate);
      else histogram.reset();
    }
  }
  const [ours, theirs] = sides;
  return {
    ...{ features, events, checksum },
    engine: latencyOf(ours.histogram),
    byHand: latencyOf(theirs.histogram),
    ratio: ratioOf(ours.rates, theirs.rates),
  };
}

/** Reads per second. */
async function readFor(
  ask: (atMs: number) => Promise<unknown>,
  questions: readonly number[],
  histogram: Histogram,
  forMs: number,
): Promise<number> {
  const startMs = performance.now();
  let nowMs = startMs;
  let reads = 0;
  do {
    await ask(questions[reads++ % questions.length]!);
    const endMs = performance.now();
    recordMs(histogram, endMs - nowMs);
    nowMs = endMs;
  } while (nowMs < startMs + forMs);
  return (1_000 * reads) / (nowMs - startMs);
}

async function oneWindow(client: Redis, key: string, atMs: number): Promise<Values> {
  const fromMs = atMs - SPAN_DAYS * DAY_MS;
  const members = await client.zrangebyscore(sortedSetOf(key), `(${fromMs}`, atMs);
  let sum = 0;
  for (const member of members) sum += amountOf(member);
  return new Map([
    ['n_30d', members.length],
    ['sum_30d', sum],
  ]);
}

/** The longest window's members once, with their times. */
async function allWindows(client: Redis, key: string, atMs: number): Promise<Values> {
  const edges = WINDOWS.map((window) => ({ window, fromMs: atMs - parseDurationMs(window) }));
  const reply = await client.zrangebyscore(sortedSetOf(key), `(${edges.at(-1)!.fromMs}`, atMs, 'WITHSCORES');
  const totals = edges.map(() => ({ n: 0, sum: 0, max: Number.NEGATIVE_INFINITY }));
  for (let i = 0; i < reply.length; i += 2) {
    const amount = amountOf(reply[i]!);
    const timeMs = Number(reply[i + 1]);
    for (let w = edges.length - 1; w >= 0 && timeMs > edges[w]!.fromMs; w--) {
      const total = totals[w]!;
      total.n++;
      total.sum += amount;
      if (amount > total.max) total.max = amount;
    }
  }
  return new Map(
    edges.flatMap(({ window }, w): [string, number | null][] => {
      const { n, sum, max } = totals[w]!;
      return [
        [`n_${window}`, n],
        [`sum_${window}`, n === 0 ? null : sum],
        [`mean_${window}`, n === 0 ? null : sum / n],
        [`max_${window}`, n === 0 ? null : max],
      ];
    }),
  );
}

const amountOf = (member: string): number => Number(member.slice(member.indexOf(':') + 1));

function checkSame(engine: Values, byHand: Values): void {
  for (const [name, value] of engine) {
    const other = byHand.get(name) ?? null;
    // By hand sums are rounded at every step.
    const isSame =
      value === null || other === null
        ? value === other || value === 0
        : Math.abs(value - other) <= 1e-9 * Math.abs(other);
    if (!isSame) throw new Error(`${name} is ${value}, and ${other} by hand`);
  }
  if (byHand.size !== engine.size)
    throw new Error(`${byHand.size} values by hand, ${engine.size} of the engine`);
}

function latencyOf(histogram: Histogram): Latency {
  return {
    p50Us: histogram.getValueAtPercentile(50) / 1_000,
    p99Us: histogram.getValueAtPercentile(99) / 1_000,
    reads: histogram.totalCount,
  };
}
