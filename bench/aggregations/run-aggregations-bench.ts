/** The benchmark of the aggregations, phase by phase, with a Redis of its own where one can be had. */
import { cpus, loadavg } from 'node:os';
import { RedisTileStore } from '../../engine/store/redis/redis-tile-store.ts';
import { haveServices, startRedis } from '../../services/index.ts';
import type { Scope } from '../roles/scope.ts';
import type { AggregationsReport } from './aggregations-report.ts';
import { BY_HAND_SIZES, type ByHandRow, benchByHand } from './by-hand.ts';
import { benchDenseKey, type DenseRow } from './dense-key.ts';
import { benchMemory, type MemoryRow } from './memory-per-event.ts';
import { benchOperations, type OperationCost } from './operation-cost.ts';
import { benchScaling, type ScalingRow } from './scaling.ts';

export const AGGREGATION_PHASES = ['scaling', 'by-hand', 'memory', 'operations', 'dense'] as const;
export type AggregationPhase = (typeof AGGREGATION_PHASES)[number];

export interface AggregationsBenchOptions {
  readonly phases: ReadonlySet<AggregationPhase>;
  /** The most events of a key. */
  readonly events: number;
  /** Measuring time of each figure of reads; of each operation a tenth. */
  readonly seconds: number;
  readonly seed: number;
  readonly onProgress: (text: string) => void;
  /** Days that the events of a key are spread over. @default [30, 90] */
  readonly days?: readonly number[];
  /** Events per key of the comparison with a sorted set. @default 10 … 100,000 */
  readonly memorySizes?: readonly number[];
  /** Events in one millisecond. @default 100,000, at most `events` */
  readonly sameMillisecond?: number;
  /** As-of times that are asked in turn. @default 256 */
  readonly questions?: number;
  /** @default all */
  readonly operations?: readonly string[];
  /** @default a Redis is started where there is one */
  readonly withRedis?: boolean;
}

const MEMORY_SIZES = [10, 30, 100, 300, 1_000, 10_000, 100_000];
const SAME_MILLISECOND = 100_000;
const FEWEST_READ = 100;
const FEWEST_DENSE = 10_000;
/** Filling Redis with more takes long and shows nothing new. */
const DENSE_REDIS_MAX = 1_000_000;

/** Everything it starts is ended with the scope. */
export async function runAggregationsBench(
  options: AggregationsBenchOptions,
  scope: Scope,
): Promise<AggregationsReport> {
  const { phases, events, seconds, seed, onProgress, days = [30, 90] } = options;
  const found = haveServices().redis;
  const url = found === true && options.withRedis !== false ? await redisUrl(scope) : null;
  const notes: string[] = [];
  if (url === null) notes.push(`without Redis: ${found === true ? 'not asked for' : found}`);
  const open = async (prefix: string): Promise<RedisTileStore | null> => {
    if (url === null) return null;
    const store = await RedisTileStore.open({ nodes: url, shards: 1, prefix, acceptLoss: true });
    scope.defer(() => store.close());
    return store;
  };
  const environment = environmentOf(options);

  // First, as it wants Redis to itself.
  const memory: MemoryRow[] = [];
  if (phases.has('memory') && url !== null) {
    const { memorySizes: sizes = MEMORY_SIZES } = options;
    memory.push(...(await benchMemory({ redisUrl: url, sizes, days: Math.max(...days), seed, onProgress })));
  }
  const scaling: ScalingRow[] = [];
  if (phases.has('scaling')) {
    const redis = await open('scaling');
    const shared = { redis, seconds, seed, onProgress, questions: options.questions ?? 256 };
    for (const span of days) {
      for (const variant of ['amount', 'sketches'] as const) {
        const sizes = decades(FEWEST_READ, events);
        scaling.push(...(await benchScaling({ ...shared, variant, days: span, sizes })));
      }
    }
  }
  const byHand: ByHandRow[] = [];
  if (phases.has('by-hand') && url !== null) {
    const store = await open('by-hand');
    const sizes = BY_HAND_SIZES.filter((size) => size <= events);
    const shared = { store: store!, redisUrl: url, seconds, seed, onProgress };
    byHand.push(...(await benchByHand({ ...shared, sizes, questions: options.questions ?? 256 })));
  }
  const operations: OperationCost[] = [];
  if (phases.has('operations')) {
    const only = options.operations === undefined ? {} : { only: options.operations };
    operations.push(...(await benchOperations({ seed, seconds: seconds / 10, onProgress, ...only })));
  }
  const dense: DenseRow[] = [];
  if (phases.has('dense')) {
    const sizes = decades(Math.min(FEWEST_DENSE, events), events);
    const sameMillisecond = options.sameMillisecond ?? Math.min(SAME_MILLISECOND, events);
    const redis = await open('dense');
    dense.push(
      ...(await benchDenseKey({
        sizes,
        sameMillisecond,
        redis,
        redisMax: DENSE_REDIS_MAX,
        seed,
        onProgress,
      })),
    );
  }
  return { scaling, byHand, memory, operations, dense, notes, environment };
}

async function redisUrl(scope: Scope): Promise<string> {
  const redis = await startRedis();
  scope.defer(() => redis.stop());
  return redis.url;
}

function decades(from: number, to: number): number[] {
  const sizes: number[] = [];
  for (let size = from; size <= to; size *= 10) sizes.push(size);
  return sizes;
}

function environmentOf({ seconds, seed, events }: AggregationsBenchOptions): Record<string, string> {
  const processors = cpus();
  return {
    node: process.version,
    cpu: `${processors[0]?.model ?? 'unknown'} × ${processors.length}`,
    'load before': loadavg()[0]!.toFixed(2),
    measured: `${seconds} s per figure of reads, up to ${events} events per key, seed ${seed}`,
  };
}
