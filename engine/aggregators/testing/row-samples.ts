/** Generators of rows of one column, or two where the second orders them, and the ways to split them. For tests. */
import * as fc from 'fast-check';
import { hash53 } from '../../hash64.ts';
import { allocateRows, type ColumnStorage, type RowBlock, sortRows } from '../../tiles/row-block.ts';
import type { ColumnType } from '../partial-aggregate.ts';

export type Value = number | bigint | string | null;

export interface Sample {
  readonly timeMs: number;
  readonly idHi: number;
  readonly idLo: number;
  readonly value: Value;
  /** Of the column that orders rows, where there is one. */
  readonly by?: Value;
}

export function storageOf(type: ColumnType): ColumnStorage {
  if (type === 'long') return 'long';
  return type === 'string' ? 'text' : 'number';
}

const extremes = [0, 1, -1, 1e16, -1e16, 1e16 + 2, 0.1, 0.2, 0.3, 1e140, -1e140, 5e-324, -1e-310, 2 ** 53];

/** Doubles as a column may hold them: |v| ≤ 1e140, never −0. */
export const doubles: fc.Arbitrary<number> = fc
  .oneof(
    fc.integer({ min: -1000, max: 1000 }),
    fc.integer({ min: -1_000_000, max: 1_000_000 }).map((cents) => cents / 100),
    fc.constantFrom(...extremes),
    fc.double({ min: -1e140, max: 1e140, noNaN: true }),
  )
  .map((value) => value + 0);

export const longs: fc.Arbitrary<number | bigint> = fc
  .oneof(
    fc.bigInt({ min: -1000n, max: 1000n }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.constantFrom(2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n, -(2n ** 53n), 2n ** 53n - 1n, 2n ** 62n),
  )
  .map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value));

const valuesOf: Readonly<Record<ColumnType, fc.Arbitrary<number | bigint | string>>> = {
  string: fc.oneof(fc.constantFrom('', 'a', 'ä', '読'), fc.string({ maxLength: 8 })),
  integer: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.maxSafeInteger()).map((value) => value + 0),
  long: longs,
  double: doubles,
  boolean: fc.constantFrom(0, 1),
  timestamp: fc.integer({ min: 0, max: 2 ** 45 - 1 }),
};

/** 53-bit hashes from a small and a large domain, so that both repeats and floods occur. */
const hashes = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer()).map((value) => hash53(String(value)));

/** Often equal, so that ties occur. */
const ordering = (type: ColumnType): fc.Arbitrary<number | bigint | string> =>
  fc.oneof(fc.integer({ min: 0, max: 2 }), valuesOf[type]);

const nullable = (value: fc.Arbitrary<number | bigint | string>): fc.Arbitrary<Value> =>
  fc.option(value, { nil: null, freq: 6 });

/** Rows in any order with different (time, id); about one value in six is null. */
export function samples(
  type: ColumnType | 'hash',
  lengthMax: number,
  byType?: ColumnType,
): fc.Arbitrary<Sample[]> {
  const sample: fc.Arbitrary<Sample> = fc.record({
    timeMs: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 2 ** 45 - 1 })),
    idHi: fc.integer({ min: 0, max: 1 }).map((half) => half * 0xffff_fffe),
    idLo: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    value: nullable(type === 'hash' ? hashes : valuesOf[type]),
    ...(byType === undefined ? {} : { by: nullable(ordering(byType)) }),
  });
  return fc.uniqueArray(sample, {
    minLength: 0,
    maxLength: lengthMax,
    selector: ({ timeMs, idHi, idLo }) => `${timeMs} ${idHi} ${idLo}`,
  });
}

/** In the total order of C3. */
export function inOrder(rows: readonly Sample[]): Sample[] {
  return rows.toSorted((a, b) => a.timeMs - b.timeMs || a.idHi - b.idHi || a.idLo - b.idLo);
}

/** Column 0 holds the values; column 1 what orders them, where a storage for it is given. */
export function toBlock(
  rows: readonly Sample[],
  storage: ColumnStorage,
  byStorage?: ColumnStorage,
): RowBlock {
  const storages = byStorage === undefined ? [storage] : [storage, byStorage];
  const block = allocateRows(rows.length, storages);
  rows.forEach((row, i) => {
    block.times[i] = row.timeMs;
    block.idHi[i] = row.idHi;
    block.idLo[i] = row.idLo;
    for (const [c, value] of [row.value, row.by ?? null].slice(0, storages.length).entries()) {
      const column = block.columns[c] as Value[];
      column[i] = value === null && storages[c] === 'number' ? Number.NaN : value;
    }
  });
  return sortRows(block, storages);
}

/** How one part of the rows gets into a state: as a block, in two ranges, or by way of its encoding. */
export type Route = 'added' | 'added in two' | 'encoded';

export interface Part {
  readonly rows: readonly Sample[];
  readonly route: Route;
  /** Whether it lies wholly behind the parts that came before it. */
  readonly behind: boolean;
}

const anyRoute = fc.constantFrom<Route>('added', 'added in two', 'encoded');

/** The rows dealt out to parts at random, in random order. */
export function split(rows: readonly Sample[]): fc.Arbitrary<Part[]> {
  return fc
    .record({
      part: fc.array(fc.nat({ max: 5 }), { minLength: rows.length, maxLength: rows.length }),
      routes: fc.array(anyRoute, { minLength: 6, maxLength: 6 }),
    })
    .map(({ part, routes }) =>
      routes.map((route, p) => ({ route, behind: false, rows: rows.filter((_, i) => part[i] === p) })),
    );
}

/** The rows cut into stretches of the total order, from one in the middle outwards, as ordered partials take them. */
export function splitOutwards(rows: readonly Sample[]): fc.Arbitrary<Part[]> {
  return fc
    .record({
      cuts: fc.array(fc.nat({ max: rows.length }), { minLength: 5, maxLength: 5 }),
      start: fc.nat({ max: 5 }),
      outwards: fc.array(fc.record({ route: anyRoute, behind: fc.boolean() }), {
        minLength: 6,
        maxLength: 6,
      }),
    })
    .map(({ cuts, start, outwards }) => {
      const ordered = inOrder(rows);
      const edges = [0, ...cuts.toSorted((a, b) => a - b), rows.length];
      let next = start;
      let previous = start - 1;
      return outwards.map(({ route, behind: asked }) => {
        const behind = previous < 0 || (asked && next < 6);
        const stretch = behind ? next++ : previous--;
        return { route, behind, rows: ordered.slice(edges[stretch]!, edges[stretch + 1]!) };
      });
    });
}
