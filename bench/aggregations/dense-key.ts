/**
 * What writes to one dense key cost: events in chunks as a consumer takes them, all of one card, into one view, with
 * compaction in between. `every event in one millisecond` is what dates without a time of day look like.
 */
import type { TileStore } from '../../engine/store/tile-store.ts';
import { CardEvents, DAY_MS, serviceOf, type Variant } from './card-events.ts';
import { DirectStore } from './direct-store.ts';
import { ViewLoad } from './view-load.ts';

export interface DenseOptions {
  /** Numbers of events in 30 days, each a run of its own. */
  readonly sizes: readonly number[];
  readonly sameMillisecond: number;
  /** Opened by the caller; null: there is none. */
  readonly redis: TileStore | null;
  /** Runs of more events leave Redis out. */
  readonly redisMax: number;
  readonly seed: number;
  readonly onProgress: (text: string) => void;
}

export interface DenseRow {
  readonly variant: Variant;
  readonly store: 'process' | 'Redis';
  readonly events: number;
  /** 0: all in one millisecond. */
  readonly days: number;
  /** While writing; compaction is not in it. */
  readonly eventsPerSecond: number;
  /** Share of the time that compaction took. */
  readonly compactionShare: number;
  /** Compaction's included. */
  readonly bytesWrittenPerEvent: number;
  /** Of a chunk, head and fields: the median and the most. */
  readonly chunkBytes: number;
  readonly chunkBytesMax: number;
  /** That was ever written. */
  readonly largestField: { readonly name: string; readonly bytes: number };
  /** At the end, as are the next. */
  readonly idsBytes: number;
  readonly fields: number;
  readonly stateBytesPerEvent: number;
}

const SPAN_DAYS = 30;

export async function benchDenseKey(options: DenseOptions): Promise<DenseRow[]> {
  const { sizes, sameMillisecond, redis, redisMax } = options;
  const rows: DenseRow[] = [];
  const add = async (of: Omit<Run, 'partition'>) => {
    rows.push(await run(options, { ...of, partition: rows.length }));
  };
  for (const variant of ['amount', 'sketches'] as const) {
    for (const [events, days] of [
      ...sizes.map((n) => [n, SPAN_DAYS] as const),
      [sameMillisecond, 0] as const,
    ]) {
      await add({ variant, events, days, store: null });
      if (redis !== null && events <= redisMax) await add({ variant, events, days, store: redis });
    }
  }
  return rows;
}

interface Run {
  readonly variant: Variant;
  readonly events: number;
  readonly days: number;
  /** null: in this process. */
  readonly store: TileStore | null;
  /** Its own in the store. */
  readonly partition: number;
}

async function run({ seed, onProgress }: DenseOptions, of: Run): Promise<DenseRow> {
  const { variant, events, days, partition } = of;
  const where = of.store === null ? 'process' : 'Redis';
  const span = days === 0 ? 'one millisecond' : `${days} days`;
  onProgress(`dense key: ${variant}, ${events} events in ${span}, ${where} …`);
  const card = `dense-${events}-${days}`;
  const load = new ViewLoad(serviceOf(variant).view, of.store ?? new DirectStore(), { partition });
  const spanMs = days === 0 ? 1 : days * DAY_MS;
  const { writeMs, compactMs, chunkBytes } = await load.load(new CardEvents({ seed, card, events, spanMs }));
  const sizes = [...chunkBytes].sort((a, b) => a - b);
  const fields = load.meter.fieldsOf(load.address(card));
  let stateBytes = load.meter.headOf(load.address(card)).length;
  for (const bytes of fields.values()) stateBytes += bytes.length;
  return {
    ...{ variant, events, days, store: where },
    eventsPerSecond: (1000 * events) / writeMs,
    compactionShare: compactMs / (writeMs + compactMs),
    bytesWrittenPerEvent: load.meter.bytesWritten / events,
    chunkBytes: sizes[sizes.length >> 1]!,
    chunkBytesMax: sizes.at(-1)!,
    largestField: load.meter.largestField,
    idsBytes: fields.get('I')?.length ?? 0,
    fields: fields.size,
    stateBytesPerEvent: stateBytes / events,
  };
}
