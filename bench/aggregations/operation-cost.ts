/**
 * What every aggregation costs by itself: of an event that is added, of a tile that is merged, of a value that is
 * finished, and how large its tile is.
 *
 * Each operation of the registry is compiled as the only feature of a view, with its default parameters, or those of
 * `GIVEN` where it has none. Its partials then get rows in blocks, and tiles of `TILE_EVENTS` events each in order of
 * time. Operations take turns; a figure is the median of the rounds.
 */
import { operationRegistry } from '../../engine/aggregators/operation-registry.ts';
import type { ColumnType, Operation } from '../../engine/aggregators/partial-aggregate.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import type { CompiledFeature, CompiledView } from '../../engine/definitions/compiled.ts';
import type { EventRow, Feature, FeatureView } from '../../engine/definitions/types.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { PartialSet } from '../../engine/tiles/partial-set.ts';
import { allocateRows, type RowBlock } from '../../engine/tiles/row-block.ts';
import {
  boolean,
  double,
  entity,
  featureView,
  integer,
  streamSource,
  string,
  timestamp,
} from '../../index.ts';
import { CardEvents, DAY_MS, END_MS } from './card-events.ts';

export interface OperationCostOptions {
  readonly seed: number;
  /** Measuring time of each operation. */
  readonly seconds: number;
  /** Operations to measure. @default all */
  readonly only?: readonly string[];
  readonly onProgress: (text: string) => void;
}

export interface OperationCost {
  /** As in a feature view. */
  readonly operation: string;
  readonly addNs: number;
  readonly mergeUs: number;
  readonly finalizeUs: number;
  /** Of a tile of `TILE_EVENTS` events. */
  readonly tileBytes: number;
  /** Of all tiles merged. */
  readonly mergedBytes: number;
  readonly checksum: number;
}

export const BLOCK_ROWS = 200;
export const TILE_EVENTS = 2_000;
export const TILES = 32;
const ROUNDS = 5;

const source = streamSource({
  name: 'payments',
  columns: {
    id: integer(),
    at: timestamp(),
    card: string(),
    amount: double(),
    merchant: string(),
    declined: boolean(),
    category: string(),
  },
  eventTime: 'at',
  eventId: 'id',
});

/** Columns in the order in which an operation takes the first that it accepts; sets and counts of values prefer texts. */
const NUMBERS_FIRST: readonly (readonly [ColumnType, string])[] = [
  ['double', 'amount'],
  ['string', 'merchant'],
  ['boolean', 'declined'],
];
const TEXTS_FIRST = [NUMBERS_FIRST[1]!, NUMBERS_FIRST[0]!, NUMBERS_FIRST[2]!];
const OF_AMOUNTS = new Set(['first', 'last', 'first_n', 'last_n']);

const N = 10;
/** Parameters where there are no defaults for all. */
const GIVEN: Readonly<Record<string, readonly number[]>> = {
  first_n: [N],
  last_n: [N],
  top_n: [N],
  bottom_n: [N],
  first_distinct_n: [N],
  last_distinct_n: [N],
  top_k_frequent: [N, 64],
  percentile: [95, 0.01],
  percentiles: [0.01, 50, 95, 99],
  histogram: [1, 2, 5, 10, 20, 50, 100, 200],
  exp_decay_sum: [DAY_MS],
  exp_decay_count: [DAY_MS],
  exp_decay_mean: [DAY_MS],
};

interface Case {
  readonly title: string;
  readonly view: CompiledView;
  readonly feature: CompiledFeature;
}

function caseOf(operation: Operation, more: Partial<Feature> = {}): Case {
  const { name, accepts } = operation;
  const params = GIVEN[name] ?? operation.params.map((param) => param.default!);
  const order = OF_AMOUNTS.has(name) ? NUMBERS_FIRST : TEXTS_FIRST;
  const column = operation.columnOptional ? null : order.find(([type]) => accepts!.includes(type))![1];
  const feature: Feature = {
    kind: 'feature',
    operation: name,
    column,
    params,
    ...(operation.orderedBy === undefined ? {} : { orderBy: 'amount' }),
    window: { kind: 'sliding', sizeMs: 90 * DAY_MS, offsetMs: 0 },
    ...more,
  };
  const title = [
    `${name}(${[...(column === null ? [] : [column]), ...params].join(', ')})`,
    ...(feature.orderBy === undefined ? [] : [`by ${feature.orderBy}`]),
    ...(feature.where === undefined ? [] : [`where ${feature.where}`]),
    ...(feature.by === undefined ? [] : [`by ${feature.by.column}, at most ${feature.by.max}`]),
  ].join(' ');
  const definition = featureView({ name: 'one', source, entity: entity('card'), features: { it: feature } });
  const view = [...compileRepo([definition as unknown as FeatureView]).views.values()][0]!;
  return { title, view, feature: view.features[0]! };
}

export function operationCases(only?: readonly string[]): Case[] {
  const sum = operationRegistry.get('sum')!;
  const cases = [...operationRegistry.values()].map((operation) => caseOf(operation));
  cases.push(caseOf(sum, { where: 'declined' }), caseOf(sum, { by: { column: 'category', max: 64 } }));
  return cases.filter(({ feature }) => only === undefined || only.includes(feature.operation.name));
}

/** Blocks of rows of each tile, as the view keeps them. */
function tilesOf(view: CompiledView, seed: number): RowBlock[][] {
  const events = new CardEvents({ seed, card: '1', events: TILES * TILE_EVENTS, spanMs: 30 * DAY_MS });
  const random = new SeededRandom(seed);
  return Array.from({ length: TILES }, () =>
    Array.from({ length: TILE_EVENTS / BLOCK_ROWS }, () => {
      const block = allocateRows(BLOCK_ROWS, view.storages);
      events.take(BLOCK_ROWS).forEach((event, i) => {
        const more = { declined: random.chance(0.1), category: `c${random.below(24)}` };
        const row: EventRow = { ...event, ...more };
        const values = view.project(row)!;
        block.times[i] = event.at;
        block.idLo[i] = event.id % 2 ** 32;
        block.idHi[i] = Math.floor(event.id / 2 ** 32);
        values.forEach((value, c) => {
          block.columns[c]![i] = value;
        });
      });
      return block;
    }),
  );
}

interface Measured extends Case {
  readonly tiles: readonly (readonly RowBlock[])[];
  readonly encoded: readonly Uint8Array[];
  readonly addNs: number[];
  readonly mergeUs: number[];
  readonly finalizeUs: number[];
  checksum: number;
}

export async function benchOperations(options: OperationCostOptions): Promise<OperationCost[]> {
  const { seed, seconds, only, onProgress } = options;
  onProgress('operations: making tiles …');
  const measured = operationCases(only).map((found): Measured => {
    const tiles = tilesOf(found.view, seed);
    const encoded = tiles.map((blocks) => {
      const set = new PartialSet(found.view.partials);
      for (const block of blocks) set.addRows(block, 0, block.length);
      return set.encode();
    });
    return { ...found, tiles, encoded, addNs: [], mergeUs: [], finalizeUs: [], checksum: 0 };
  });
  onProgress(`operations: measuring ${measured.length} …`);
  const shareMs = (1000 * seconds) / (3 * ROUNDS);
  for (let round = 0; round <= ROUNDS; round++) {
    for (const one of measured) measure(one, shareMs, round > 0);
  }
  return measured.map((one): OperationCost => {
    const merged = mergedSet(one).encode();
    const sizes = one.encoded.map(({ length }) => length).sort((a, b) => a - b);
    return {
      operation: one.title,
      addNs: median(one.addNs),
      mergeUs: median(one.mergeUs),
      finalizeUs: median(one.finalizeUs),
      tileBytes: sizes[sizes.length >> 1]!,
      mergedBytes: merged.length,
      checksum: one.checksum,
    };
  });
}

function mergedSet({ view, encoded }: Measured): PartialSet {
  const set = new PartialSet(view.partials);
  for (const bytes of encoded) set.absorb(bytes);
  return set;
}

function measure(one: Measured, shareMs: number, keep: boolean): void {
  const { view, feature, tiles, encoded } = one;
  const set = new PartialSet(view.partials);
  const addMs = timed(shareMs, (i) => {
    const blocks = tiles[i % TILES]!;
    set.clear();
    for (const block of blocks) set.addRows(block, 0, block.length);
  });
  const mergeMs = timed(shareMs, () => {
    set.clear();
    for (const bytes of encoded) set.absorb(bytes);
  });
  const finish = finisherOf(feature, mergedSet(one));
  let sum = 0;
  const finalizeMs = timed(shareMs, () => {
    sum = numberOf(finish());
  });
  if (!keep) return;
  one.addNs.push((1e6 * addMs) / TILE_EVENTS);
  one.mergeUs.push((1e3 * mergeMs) / TILES);
  one.finalizeUs.push(1e3 * finalizeMs);
  one.checksum = sum;
}

/** Milliseconds of one call, from calls that take the given time together. */
function timed(forMs: number, work: (i: number) => void): number {
  const startedMs = performance.now();
  for (let calls = 1; ; calls++) {
    work(calls - 1);
    const tookMs = performance.now() - startedMs;
    if (tookMs >= forMs) return tookMs / calls;
  }
}

function finisherOf(feature: CompiledFeature, set: PartialSet): () => unknown {
  const { operation, params } = feature;
  const type = feature.type ?? 'integer';
  const window = { atMs: END_MS, fromMs: END_MS - 90 * DAY_MS, toMs: END_MS };
  const states = feature.partials.map((index) => set.states[index]);
  if (feature.groups === null) return () => operation.finalize(states, type, params, window);
  const { inner } = feature.groups;
  const grouped = states[0] as { readonly groups: Iterable<{ readonly states: readonly unknown[] }> };
  return () =>
    [...grouped.groups].map((group) =>
      operation.finalize(
        inner.map((index) => group.states[index]),
        type,
        params,
        window,
      ),
    );
}

function numberOf(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string') return value.length;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + numberOf(item), 0);
  return value === true ? 1 : 0;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
