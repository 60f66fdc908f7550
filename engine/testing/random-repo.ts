/**
 * Random definitions and random events for them, from a seed: what the property tests of the engine run on.
 *
 * Every operation of the registry over every column type it takes, nullable or not, projected or not; windows of
 * seconds to years, odd sizes and sizes on the tile grid, offsets, lifetime; resolution, as-of retention,
 * filter, declared defaults; events with integer, long, text ids and none.
 */
import { operationRegistry } from '../aggregators/operation-registry.ts';
import type {
  ColumnType,
  ColumnValue,
  FeatureValue,
  Operation,
  OperationList,
  OperationParam,
} from '../aggregators/partial-aggregate.ts';
import { compileRepo } from '../definitions/compile.ts';
import type { CompiledSource, CompiledView } from '../definitions/compiled.ts';
import { entity } from '../definitions/entity.ts';
import { featureView } from '../definitions/feature-view.ts';
import { streamSource } from '../definitions/stream-source.ts';
import type { Column, EventRow, Feature, Projection, Window } from '../definitions/types.ts';
import { TIME_END_MS } from '../tiles/grid.ts';
import { periodMs } from '../windows/calendar-period.ts';
import { hasLength } from '../windows/window-reach.ts';
import type { SeededRandom } from './random.ts';
import { fitsResolution, randomWindow, randomWindowOfKind } from './random-windows.ts';

export type IdKind = 'integer' | 'long' | 'string' | 'none';

export interface RandomRepo {
  readonly source: CompiledSource;
  readonly views: readonly CompiledView[];
  readonly idKind: IdKind;
  /** A typical step of event time, ms: everything else is chosen in proportion to it. */
  readonly scaleMs: number;
  readonly startMs: number;
  /** Entity keys as the key column holds them; null where it is nullable. */
  readonly keys: readonly ColumnValue[];
  /** A row with this time and id; the rest is random. */
  row(random: SeededRandom, timeMs: number, id: ColumnValue): EventRow;
}

/** What one feature of a repo is to be, whatever the rest of it is. */
export interface RepoTarget {
  readonly operation: Operation;
  readonly windowKind: Window['kind'];
  readonly resolution: boolean;
}

const DAY_MS = 86_400_000;
const TYPES: readonly ColumnType[] = ['string', 'integer', 'long', 'double', 'boolean', 'timestamp'];

const LEAP_DAY_MS = Date.UTC(2024, 1, 29);

function startOf(random: SeededRandom, scaleMs: number): number {
  const wide = Math.min(400 * scaleMs, TIME_END_MS / 4);
  return random.pick([
    1_700_000_000_000,
    LEAP_DAY_MS - random.below(2) * scaleMs,
    0,
    Math.floor(TIME_END_MS - 4 * wide),
    random.between(1, 2_000) * 2 ** 30 - random.below(3),
    random.between(1, 2_000_000) * 2 ** 20,
  ]);
}

/** Makes values of a column; one column keeps to one kind of values, as real ones do. */
type Generator = (random: SeededRandom) => ColumnValue;

const TEXTS = ['', 'a', 'b', 'ab', 'ä', '読', '😀', ' ', 'null', '0', '\u0000', '\ufeff', 'x'.repeat(40)];
const SAFE_MAX = 2 ** 53 - 1;
const LONGS = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n, -(2n ** 53n), 2n ** 62n + 1n, 0, 1, -1, SAFE_MAX];

function generatorOf(random: SeededRandom, type: ColumnType): Generator {
  switch (type) {
    case 'string':
      return random.pick<Generator>([
        (r) => r.pick(TEXTS),
        (r) => r.pick(['x', 'y', 'z']),
        (r) => `id-${r.below(1000)}`,
      ]);
    case 'boolean':
      return (r) => r.chance(0.5);
    case 'timestamp':
      return random.pick<Generator>([(r) => r.below(5), (r) => r.below(TIME_END_MS), () => TIME_END_MS - 1]);
    case 'integer':
      return random.pick<Generator>([
        (r) => r.between(-3, 9),
        (r) => r.pick([SAFE_MAX, -SAFE_MAX, 0, 1, SAFE_MAX - 1]),
        (r) => r.between(-1_000_000, 1_000_000),
      ]);
    case 'long':
      return random.pick<Generator>([
        (r) => r.pick(LONGS),
        (r) => r.between(-5, 5),
        (r) => {
          const value = BigInt.asIntN(64, (BigInt(r.uint32()) << 32n) | BigInt(r.uint32()));
          return Number.isSafeInteger(Number(value)) ? Number(value) : value;
        },
      ]);
    case 'double':
      return random.pick<Generator>([
        (r) => r.between(0, 100_000) / 100,
        (r) => r.between(-100_000, 100_000) / 100,
        (r) => r.between(-9_999_999, 9_999_999) / 1000,
        (r) => r.pick([1e16, -1e16, 1, -1, 1e16 + 2, 0]),
        (r) => r.pick([1e140, -1e140, 1, 1e-100, 3e70, 0]),
        (r) => r.pick([0.1, 0.2, 0.3, -0.6]),
        (r) => (r.uint32() / 2 ** 32 - 0.5) * 10 ** r.between(-20, 20),
        (r) => r.pick([1e8, 1e8 + 1, 1e8 - 1]),
      ]);
  }
}

const KEYS: Readonly<Record<string, readonly ColumnValue[]>> = {
  string: ['', 'a', '}', 'a\u0000b', 'ключ', '1', '__proto__'],
  integer: [0, 1, -1, SAFE_MAX],
  long: [0, 2n ** 63n - 1n, -(2n ** 63n), 7],
};

/** Pure functions of one column, as a feature repo would write them. */
function projectionOf(random: SeededRandom, name: string, column: Column): Projection<EventRow> {
  const { nullable } = column;
  const ofValue =
    (compute: (value: Exclude<ColumnValue, null>) => ColumnValue): Projection<EventRow>['from'] =>
    (event) => {
      const value = event[name]!;
      return value === null ? null : compute(value);
    };
  const text: Projection<EventRow> = {
    type: 'string',
    nullable,
    from: ofValue((value) => `${String(value).length}`),
  };
  switch (column.type) {
    case 'double':
      return random.pick<Projection<EventRow>>([
        { type: 'double', nullable, from: ofValue((value) => -(value as number) / 2) },
        { type: 'boolean', nullable, from: ofValue((value) => (value as number) > 0) },
        text,
      ]);
    case 'timestamp':
      return {
        type: 'long',
        nullable,
        from: ofValue((value) => BigInt(value as number) * 1_000n),
      };
    case 'string':
      return { type: 'integer', nullable, from: ofValue((value) => (value as string).length) };
    case 'long':
      return { type: 'double', nullable, from: ofValue((value) => Number(value)) };
    case 'integer':
      return random.pick<Projection<EventRow>>([
        { type: 'long', nullable, from: ofValue((value) => BigInt(value as number) * 3n) },
        { type: 'timestamp', nullable, from: ofValue((value) => Math.abs(value as number) % TIME_END_MS) },
      ]);
    case 'boolean':
      return { type: 'integer', nullable, from: ofValue((value) => (value ? 1 : 0)) };
  }
}

function filterOf(
  random: SeededRandom,
  columns: Readonly<Record<string, Column>>,
): (event: EventRow) => boolean {
  const name = random.pick(Object.keys(columns));
  switch (columns[name]!.type) {
    case 'string':
      return (event) => event[name] !== 'a';
    case 'boolean':
      return (event) => event[name] !== false;
    default:
      return (event) => event[name] !== null && (event[name] as number | bigint) >= 0;
  }
}

function defaultOf(random: SeededRandom, resultType: string): FeatureValue | undefined {
  if (random.chance(0.75)) return undefined;
  if (random.chance(0.2)) return null;
  switch (resultType) {
    case 'double':
      return -1.5;
    case 'integer':
    case 'timestamp':
      return 42;
    case 'long':
      return 2n ** 60n;
    case 'boolean':
      return true;
    case 'string':
      return 'none';
    default:
      return undefined;
  }
}

/** Edges where the values are; percents within their bounds. */
function listOf(random: SeededRandom, { min, max, lengthMax, ascending }: OperationList): number[] {
  if (!ascending) {
    return Array.from({ length: Math.min(lengthMax, random.between(1, 4)) }, () => random.between(min, max));
  }
  const edge = (): number =>
    random.pick([random.between(-5, 9), random.between(0, 100_000) / 100, 1e16, 2 ** 62, TIME_END_MS / 2]);
  return [...new Set(Array.from({ length: random.pick([1, 3, 30]) }, edge))].sort((a, b) => a - b);
}

function paramOf(random: SeededRandom, param: OperationParam, scaleMs: number): number {
  const { name, min, max, default: fallback, fractional } = param;
  if (fallback !== null && random.chance(0.6)) return fallback;
  if (fractional === true) {
    return random.chance(0.2) ? max : min + (max - min) * random.pick([0, 0.25, 0.501]);
  }
  const span = name === 'half_life_ms' ? random.pick([8, 10 * scaleMs, 1000 * scaleMs]) : 8;
  return Math.min(max, min + random.below(Math.ceil(span)));
}

function paramsOf(random: SeededRandom, operation: Operation, scaleMs: number): number[] {
  const params = operation.params.map((param) => paramOf(random, param, scaleMs));
  return operation.list === undefined ? params : [...params, ...listOf(random, operation.list)];
}

function featureOf(
  random: SeededRandom,
  columns: Readonly<Record<string, Column>>,
  window: Window,
  { scaleMs, resolution }: { readonly scaleMs: number; readonly resolution: number | null },
  operation = random.pick([...operationRegistry.values()]),
): Feature | null {
  if (operation.sequence === true && (window.kind === 'lifetime' || resolution !== null)) return null;
  if (operation.needsLength === true && !hasLength(window)) return null;
  const ofTypes = (types: readonly ColumnType[]): string[] =>
    Object.keys(columns).filter((name) => types.includes(columns[name]!.type));
  const fitting = ofTypes(operation.accepts ?? []);
  const ordering = ofTypes(operation.orderedBy ?? []);
  if (operation.orderedBy !== undefined && ordering.length === 0) return null;
  const bare = operation.accepts === null || (operation.columnOptional && random.chance(0.4));
  if (!bare && fitting.length === 0) return null;
  const column = bare ? null : random.pick(fitting);
  const params = paramsOf(random, operation, scaleMs);
  const conditions = Object.keys(columns).filter((name) => columns[name]!.type === 'boolean');
  const where = conditions.length > 0 && random.chance(0.3) ? random.pick(conditions) : null;
  const groupable = Object.keys(columns).filter((name) => columns[name]!.type !== 'double');
  const by =
    groupable.length > 0 && random.chance(0.2)
      ? { column: random.pick(groupable), max: random.pick([1, 2, 3, 64]) }
      : null;
  const restricted = { ...(where === null ? {} : { where }), ...(by === null ? {} : { by }) };
  const fallback =
    by !== null
      ? undefined
      : defaultOf(random, operation.resultType(column === null ? null : columns[column]!.type));
  return {
    kind: 'feature',
    operation: operation.name,
    column,
    params,
    ...(ordering.length === 0 ? {} : { orderBy: random.pick(ordering) }),
    window,
    ...restricted,
    ...(fallback === undefined ? {} : { default: fallback }),
  };
}

/** A column of each list of types at least. */
function addMissing(
  random: SeededRandom,
  needed: readonly (readonly ColumnType[] | null | undefined)[],
  add: (type: ColumnType) => void,
  present: () => readonly ColumnType[],
): void {
  for (const types of needed) {
    if (types == null || present().some((type) => types.includes(type))) continue;
    add(random.pick(types));
  }
}

/**
 * @param name makes the views' namespaces differ between cases that share a store
 * @param target what the first feature of the first view is
 */
export function randomRepo(random: SeededRandom, name: string, target?: RepoTarget): RandomRepo {
  const scaleMs = random.pick([3, 50, 1_000, 20_000, 3_600_000, DAY_MS, 20 * DAY_MS]);
  const idKind = random.pick<IdKind>(['integer', 'long', 'string', 'none']);
  const keyType = random.pick(['string', 'integer', 'long'] as const);
  const keyNullable = random.chance(0.3);
  const columns: Record<string, Column> = {
    at: { type: 'timestamp', nullable: false },
    card: { type: keyType, nullable: keyNullable },
    ...(idKind === 'none' ? {} : { id: { type: idKind, nullable: false } }),
  };
  const generators: Record<string, Generator> = {};
  const values: Record<string, Column> = {};
  const addColumn = (type: ColumnType, columnName: string): void => {
    values[columnName] = { type, nullable: random.chance(0.4) };
    generators[columnName] = generatorOf(random, type);
  };
  for (let i = random.between(1, 5); i > 0; i--) {
    const type = random.chance(0.3) ? 'double' : random.pick(TYPES);
    addColumn(type, `${type}_${i}`);
  }
  if (target !== undefined) {
    addMissing(
      random,
      [target.operation.accepts, target.operation.orderedBy],
      (type) => addColumn(type, `${type}_0`),
      () => Object.values(values).map(({ type }) => type),
    );
  }
  Object.assign(columns, values);
  const horizonMs = Math.floor(random.pick([10_000, scaleMs * 10, scaleMs * 100]));
  const source = streamSource({
    name: 'events',
    columns,
    eventTime: 'at',
    ...(idKind === 'none' ? {} : { eventId: 'id' }),
    dedupeHorizon: Math.max(1, horizonMs),
    maxFuture: Math.floor(scaleMs * random.pick([0, 2, 20])),
    lateness: Math.floor(scaleMs * random.pick([0, 1, 5])),
  } as never);
  const card = entity('card');
  // What a target asks for is in the first; a second one doubles the work.
  const viewCount = target === undefined ? random.between(1, 2) : random.pick([1, 1, 1, 2]);
  const views = Array.from({ length: viewCount }, (_, v) => {
    const project: Record<string, Projection<EventRow>> = {};
    for (let i = random.below(3); i > 0; i--) {
      const from = random.pick(Object.keys(values));
      project[`projected_${i}`] = projectionOf(random, from, values[from]!);
    }
    const all: Record<string, Column> = { ...values };
    for (const [column, { type, nullable = false }] of Object.entries(project))
      all[column] = { type, nullable };
    const withLifetime = random.chance(0.35);
    const aim = v === 0 ? target : undefined;
    const resolution = (aim === undefined ? random.chance(0.3) : aim.resolution)
      ? Math.min(
          periodMs('year'),
          random.pick([2 ** random.between(5, 30), Math.ceil(scaleMs * random.pick([0.5, 1, 4]))]),
        )
      : null;
    const features: Record<string, Feature> = {};
    // Few windows and several features over each, as real views have.
    const windows = Array.from({ length: random.between(1, 3) }, () =>
      randomWindow(random, scaleMs, withLifetime),
    );
    if (aim !== undefined) {
      const window = randomWindowOfKind(random, aim.windowKind, { scaleMs, resolutionMs: resolution });
      const feature = featureOf(random, all, window, { scaleMs, resolution }, aim.operation);
      if (feature === null) throw new Error(`${aim.operation.name} cannot be had over ${aim.windowKind}`);
      features.aim = feature;
      windows[0] = window;
    }
    for (let i = 0; Object.keys(features).length < 5 && i < 12; i++) {
      const chosen = random.pick(windows);
      const window: Window = fitsResolution(chosen, resolution)
        ? chosen
        : { kind: 'sliding', sizeMs: resolution!, offsetMs: 0 };
      const feature = featureOf(random, all, window, { scaleMs, resolution });
      if (feature !== null) features[`f${i}`] = feature;
    }
    if (Object.keys(features).length === 0) {
      features.f0 = { kind: 'feature', operation: 'count', column: null, params: [], window: windows[0]! };
      if (resolution !== null) features.f0 = { ...features.f0, window: { kind: 'lifetime', offsetMs: 0 } };
    }
    return featureView({
      name: `view_${v}_${name}`,
      source,
      entity: card,
      keyColumn: 'card',
      features,
      project,
      ...(random.chance(0.4) ? { filter: filterOf(random, values) } : {}),
      ...(resolution === null ? {} : { resolution }),
      asOfRetention: Math.floor(random.pick([0, 1, scaleMs * 3, scaleMs * 30, DAY_MS])),
    } as never);
  });
  const compiled = compileRepo(views);
  return {
    source: compiled.sources.get('events')!,
    views: [...compiled.views.values()],
    idKind,
    scaleMs,
    startMs: startOf(random, scaleMs),
    keys: [...KEYS[keyType]!.slice(0, random.between(1, 4)), ...(keyNullable ? [null] : [])],
    row(rowRandom, timeMs, id) {
      const row: Record<string, ColumnValue> = { at: timeMs, card: rowRandom.pick(this.keys) };
      if (idKind !== 'none') row.id = id;
      for (const [column, { nullable }] of Object.entries(values)) {
        row[column] = nullable && rowRandom.chance(0.2) ? null : generators[column]!(rowRandom);
      }
      return row;
    },
  };
}
