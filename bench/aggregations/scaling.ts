/**
 * What a read costs against the number of events of its key.
 *
 * 1. For each number of events one state is filled, compacted and copied as it is into the store in memory and into
 *    Redis.
 * 2. Every question is asked once, untimed, through a store that notes calls, fields and bytes. Counts must be those
 *    of the events, answers the same from both stores.
 * 3. The questions are asked in turns, a share of the time for each number of events and store, one at a time.
 */
import type { Histogram } from 'hdr-histogram-js';
import type { CompiledService, CompiledView } from '../../engine/definitions/compiled.ts';
import { MemoryTileStore } from '../../engine/store/memory-tile-store.ts';
import { fieldsOf } from '../../engine/store/read-fields.ts';
import type { FieldName, TileStore } from '../../engine/store/tile-store.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { parseDurationMs } from '../../engine/windows/duration.ts';
import type { FeatureAnswer } from '../../serve/feature-answer.ts';
import { FeatureReader } from '../../serve/feature-reader.ts';
import { latencyHistogram, recordMs } from '../latency.ts';
import { CardEvents, DAY_MS, END_MS, serviceOf, type Variant, WINDOWS } from './card-events.ts';
import { DirectStore } from './direct-store.ts';
import { addState, type Breakdown, emptyBreakdown } from './state-breakdown.ts';
import { copyState, ViewLoad } from './view-load.ts';

export interface ScalingOptions {
  readonly variant: Variant;
  readonly days: number;
  /** Numbers of events, ascending. */
  readonly sizes: readonly number[];
  /** Opened by the caller; null: there is none. */
  readonly redis: TileStore | null;
  /** Of each number of events and store. */
  readonly seconds: number;
  readonly seed: number;
  readonly questions: number;
  readonly onProgress: (text: string) => void;
}

export type StoreName = 'memory' | 'Redis';

export interface ScalingRow {
  readonly variant: Variant;
  readonly days: number;
  readonly store: StoreName;
  readonly events: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU time of this process per read: what other load on the machine disturbs least. */
  readonly cpuUs: number;
  readonly reads: number;
  /** Of head and fields, the median and the most over the questions. */
  readonly bytes: number;
  readonly bytesMax: number;
  /** Of the bytes, on average: rows (times, ids and columns), and partial aggregates. */
  readonly rowBytes: number;
  readonly tileBytes: number;
  readonly asked: number;
  readonly present: number;
  /** Calls of the store for one question. */
  readonly calls: number;
  /** Sum of the numbers answered; the same for both stores. */
  readonly checksum: number;
}

const ROUNDS = 5;
/** The view's as-of retention is a day, and what compaction waited for is past at its end. */
const QUESTIONS_MS = DAY_MS - 3_600_000;

interface Cost {
  breakdown: Breakdown;
  calls: number;
  asked: number;
  present: number;
  bytes: number;
}

interface Side {
  readonly store: StoreName;
  readonly reader: FeatureReader;
  readonly histogram: Histogram;
  cpuUs: number;
  /** Questions asked so far: the next round goes on from there. */
  asked: number;
}

interface Filled {
  readonly events: number;
  readonly key: string;
  readonly sides: readonly Side[];
  readonly costs: readonly Cost[];
  readonly checksum: number;
}

export async function benchScaling(options: ScalingOptions): Promise<ScalingRow[]> {
  const { variant, days, sizes, seconds, onProgress } = options;
  const { view, service } = serviceOf(variant);
  const random = new SeededRandom(options.seed);
  const questions = Array.from({ length: options.questions }, () => END_MS - random.below(QUESTIONS_MS));
  const filled: Filled[] = [];
  for (const events of sizes) {
    onProgress(`scaling: ${variant}, ${days} days, filling ${events} events …`);
    filled.push(await fill(options, { view, service, events, questions }));
  }
  onProgress(`scaling: ${variant}, ${days} days, reading …`);
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { key, sides } of filled) {
      for (const side of sides) {
        await readFor(side, key, questions, (1000 * seconds) / ROUNDS);
        // The first round warms up.
        if (round > 0) continue;
        side.histogram.reset();
        side.cpuUs = 0;
      }
    }
  }
  return filled.flatMap(({ events, sides, costs, checksum }) =>
    sides.map(({ store, histogram, cpuUs }): ScalingRow => {
      const bytes = costs.map((cost) => cost.bytes).sort((a, b) => a - b);
      const mean = (of: (cost: Cost) => number): number =>
        costs.reduce((sum, cost) => sum + of(cost), 0) / costs.length;
      return {
        ...{ variant, days, store, events, checksum },
        p50Us: histogram.getValueAtPercentile(50) / 1000,
        p99Us: histogram.getValueAtPercentile(99) / 1000,
        cpuUs: cpuUs / histogram.totalCount,
        reads: histogram.totalCount,
        bytes: bytes[bytes.length >> 1]!,
        bytesMax: bytes.at(-1)!,
        rowBytes: mean(({ breakdown: { times, rowIds, columns, blocks } }) =>
          [times, rowIds, blocks, ...columns.values()].reduce((sum, value) => sum + value, 0),
        ),
        tileBytes: mean(({ breakdown }) => breakdown.tiles + breakdown.wide),
        asked: mean((cost) => cost.asked),
        present: mean((cost) => cost.present),
        calls: Math.max(...costs.map((cost) => cost.calls)),
      };
    }),
  );
}

interface Filling {
  readonly view: CompiledView;
  readonly service: CompiledService;
  readonly events: number;
  readonly questions: readonly number[];
}

/** A script's arguments have an end. The store in memory copies all fields with every write: it gets them at once. */
const REDIS_FIELDS_PER_WRITE = 500;

async function fill(options: ScalingOptions, { view, service, events, questions }: Filling): Promise<Filled> {
  const { seed, days } = options;
  const key = `${days}-${events}`;
  const times = new Float64Array(events);
  let made = 0;
  const load = new ViewLoad(view, new DirectStore());
  await load.load(new CardEvents({ seed, card: key, events, spanMs: days * DAY_MS }), (chunk) => {
    for (const { at } of chunk) times[made++] = at;
  });
  const address = load.address(key);
  const state = { address, head: load.meter.headOf(address), fields: load.meter.fieldsOf(address) };
  const tokens = new SeededRandom(seed);
  const memory = new MemoryTileStore({ random: () => tokens.hex64(), historyLimit: 0 });
  const stores: [StoreName, TileStore][] = [['memory', memory]];
  if (options.redis !== null) stores.push(['Redis', options.redis]);
  const costs: Cost[] = [];
  const sums: number[] = [];
  const sides: Side[] = [];
  for (const [name, store] of stores) {
    await copyState(store, state, name === 'memory' ? Number.POSITIVE_INFINITY : REDIS_FIELDS_PER_WRITE);
    const noting = new ReadMeter(view, store);
    const noted = readerOf(service, noting.store);
    let checksum = 0;
    for (const atMs of questions) {
      noting.begin();
      const [answers] = await noted.read([questionOf(key, atMs)]);
      checkCounts(noted, answers!, times, atMs);
      checksum += sumOf(answers!);
      if (name === 'memory') costs.push(noting.cost);
    }
    sums.push(checksum);
    sides.push({
      store: name,
      reader: readerOf(service, store),
      histogram: latencyHistogram(),
      cpuUs: 0,
      asked: 0,
    });
  }
  if (sums.some((sum) => sum !== sums[0]))
    throw new Error(`the stores answer differently: ${sums.join(', ')}`);
  return { events, key, sides, costs, checksum: sums[0]! };
}

async function readFor(side: Side, key: string, questions: readonly number[], forMs: number): Promise<void> {
  const before = process.cpuUsage();
  const endMs = performance.now() + forMs;
  // Each at least once in all rounds together, so that percentiles are of all questions.
  const enough = side.asked + Math.ceil(questions.length / ROUNDS);
  for (;;) {
    const startedMs = performance.now();
    if (startedMs >= endMs && side.asked >= enough) break;
    await side.reader.read([questionOf(key, questions[side.asked++ % questions.length]!)]);
    recordMs(side.histogram, performance.now() - startedMs);
  }
  const { user, system } = process.cpuUsage(before);
  side.cpuUs += user + system;
}

export function questionOf(key: string, atMs: number): Parameters<FeatureReader['read']>[0][number] {
  return { keys: new Map([['card', key]]), request: {}, atMs, asked: null };
}

export function readerOf(service: CompiledService, store: TileStore): FeatureReader {
  return new FeatureReader({
    service,
    store,
    shards: 1,
    isCatchingUp: () => false,
    onEvaluationError: (_view, error) => {
      throw error;
    },
  });
}

/** Notes what each read of a store asks for and finds. */
class ReadMeter {
  cost!: Cost;
  readonly store: TileStore;
  readonly #view: CompiledView;

  constructor(view: CompiledView, store: TileStore) {
    this.#view = view;
    this.begin();
    const read: TileStore['read'] = async (requests) => {
      const states = await store.read(requests);
      this.cost.calls++;
      states.forEach(({ head, fields }, i) => {
        const found = new Map<FieldName, Uint8Array>();
        const names = fieldsOf(requests[i]!);
        this.cost.asked += fields.length;
        this.cost.bytes += head?.length ?? 0;
        fields.forEach((field, f) => {
          if (field === null) return;
          found.set(names[f]!, field);
          this.cost.present++;
          this.cost.bytes += field.length;
        });
        if (head !== null) addState(this.cost.breakdown, view, head, found);
      });
      return states;
    };
    this.store = Object.assign(Object.create(store) as TileStore, { read });
  }

  /** With a new question. */
  begin(): void {
    this.cost = { breakdown: emptyBreakdown(this.#view), calls: 0, asked: 0, present: 0, bytes: 0 };
  }
}

function checkCounts(
  reader: FeatureReader,
  answers: readonly FeatureAnswer[],
  times: Float64Array,
  atMs: number,
): void {
  for (const window of WINDOWS) {
    const right = countUpTo(times, atMs) - countUpTo(times, atMs - parseDurationMs(window));
    const { slot } = reader.output.find(({ name }) => name === `n_${window}`)!;
    const { value } = answers[slot]!;
    if (value !== right) throw new Error(`n_${window} at ${atMs} is ${right}, and ${value} was answered`);
  }
}

function countUpTo(times: Float64Array, timeMs: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! <= timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sumOf(value: unknown): number {
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + sumOf(item), 0);
  if (typeof value === 'object' && value !== null && 'value' in value) return sumOf(value.value);
  return 0;
}
