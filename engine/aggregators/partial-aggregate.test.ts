/**
 * The laws of `PartialAggregate` for every kind in the registry and every column type it takes. What these tests
 * do not say is whether a value is right: that is `operations.test.ts` and the tests of each method.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage, RowBlock } from '../tiles/row-block.ts';
import { operationRegistry } from './operation-registry.ts';
import type { ColumnType, Operation, PartialAggregate } from './partial-aggregate.ts';
import { partialKey, partialRegistry } from './partial-registry.ts';
import {
  type Part,
  type Sample,
  samples,
  split,
  splitOutwards,
  storageOf,
  toBlock,
} from './testing/row-samples.ts';

/** A partial as some operation asks for it, with that operation's column types. */
interface Case {
  readonly title: string;
  readonly partial: PartialAggregate;
  readonly type: ColumnType | 'hash';
  readonly storage: ColumnStorage;
  /** Of the column that orders rows, where there is one. */
  readonly byType: ColumnType | undefined;
}

/** Small bounds, so that short samples cross them. */
const smallParams: Readonly<Record<string, readonly (readonly number[])[]>> = {
  first_n: [[1], [3], [1000]],
  last_n: [[1], [3], [1000]],
  distinct_count: [[1], [4], [1024]],
  top_n: [[1], [3], [1000]],
  bottom_n: [[1], [3], [1000]],
  max_by_n: [[1], [3], [1000]],
  min_by_n: [[1], [3], [1000]],
  histogram: [[0], [-10, 0, 1e16], Array.from({ length: 64 }, (_, i) => 10 * (i - 32))],
  exp_decay_sum: [[1], [2 ** 31], [7305 * 86_400_000]],
  exp_decay_count: [[1], [2 ** 31], [7305 * 86_400_000]],
  exp_decay_mean: [[1]],
  approx_distinct_count: [[4], [11]],
  percentile: [[50, 0.01]],
  percentiles: [[0.001, 50]],
  median: [[0.1]],
  top_k_frequent: [
    [1, 2],
    [3, 64],
  ],
  entropy: [[1], [4], [1024]],
  collect_set: [[1], [4], [1000]],
  first_distinct_n: [[1], [3], [1000]],
  last_distinct_n: [[1], [3], [1000]],
};

function casesOf(operation: Operation): Case[] {
  const cases: Case[] = [];
  const types = operation.accepts ?? [];
  for (const params of smallParams[operation.name] ?? [[]]) {
    for (const [t, type] of types.entries()) {
      const columns = operation.columnOptional ? [null, 'x'] : ['x'];
      // Types of the second column take turns: each is met.
      const byType = operation.orderedBy?.[t % operation.orderedBy.length];
      const requests = columns.flatMap((column) =>
        operation.partials(column, params, byType === undefined ? undefined : `by ${byType}`),
      );
      for (const request of requests) {
        const hashed = request.need === 'hash';
        const storage = hashed ? 'number' : storageOf(type);
        const key = partialKey(request);
        const factory = partialRegistry.get(request.kind)!;
        const partial = factory({
          key,
          column: request.column === null ? -1 : 0,
          storage,
          type,
          ...(byType === undefined
            ? {}
            : { orderBy: { column: 1, storage: storageOf(byType), type: byType } }),
          params: request.params,
        });
        cases.push({
          title: hashed ? key : `${key} of ${type}`,
          partial,
          type: hashed ? 'hash' : type,
          storage,
          byType,
        });
      }
    }
  }
  return cases;
}

const cases = new Map([...operationRegistry.values()].flatMap(casesOf).map((found) => [found.title, found]));

function encode(partial: PartialAggregate, state: unknown): Uint8Array {
  const w = new ByteWriter();
  partial.encode(state, w);
  return w.finish();
}

function allAtOnce(partial: PartialAggregate, rows: RowBlock): unknown {
  const state = partial.create();
  partial.addRows(state, rows, 0, rows.length);
  return state;
}

function inParts({ partial, ...found }: Case, parts: readonly Part[]): unknown {
  const state = partial.create();
  for (const { rows, route, behind } of parts) {
    const block = blockOf(found, rows);
    if (route === 'encoded') {
      partial.absorb(state, new ByteReader(encode(partial, allAtOnce(partial, block))));
    } else {
      const middle = route === 'added' ? 0 : block.length >> 1;
      if (behind) partial.addRows(state, block, 0, middle);
      partial.addRows(state, block, middle, block.length);
      if (!behind) partial.addRows(state, block, 0, middle);
    }
  }
  return state;
}

type Columns = Pick<Case, 'type' | 'storage' | 'byType'>;

const rowsOf = ({ type, byType }: Columns, lengthMax: number) => samples(type, lengthMax, byType);

const blockOf = ({ storage, byType }: Columns, rows: readonly Sample[]): RowBlock =>
  toBlock(rows, storage, byType === undefined ? undefined : storageOf(byType));

function rowsAndParts(found: Case, lengthMax = 30) {
  return rowsOf(found, lengthMax).chain((rows) =>
    fc.record({
      rows: fc.constant(rows),
      parts: found.partial.ordered === true ? splitOutwards(rows) : split(rows),
    }),
  );
}

test('every registered kind of partial is reached by an operation, so the laws are checked for all', () => {
  const reached = new Set([...cases.keys()].map((title) => title.slice(0, title.indexOf('('))));
  expect([...reached].sort()).toEqual([...partialRegistry.keys()].sort());
});

describe.each([...cases.values()])('$title', (found) => {
  const { partial } = found;

  // What is promised instead is tested with the partial: the law up to its bound, the error beyond.
  const lawTest = partial.boundedError === true ? undefined : test;
  lawTest?.(
    'any split and mix of rows and encoded parts, in any order it takes, gives the bytes of all rows at once',
    () => {
      fc.assert(
        fc.property(rowsAndParts(found), ({ rows, parts }) => {
          const whole = encode(partial, allAtOnce(partial, blockOf(found, rows)));
          expect(encode(partial, inParts(found, parts))).toEqual(whole);
        }),
        { numRuns: 60 },
      );
    },
  );

  test('a decoded state encodes to the same bytes, and encoding changes nothing', () => {
    fc.assert(
      fc.property(rowsOf(found, 30), (rows) => {
        const state = allAtOnce(partial, blockOf(found, rows));
        const bytes = encode(partial, state);
        const copy = partial.create();
        partial.absorb(copy, new ByteReader(bytes));
        expect(encode(partial, copy)).toEqual(bytes);
        expect(encode(partial, state)).toEqual(bytes);
      }),
      { numRuns: 30 },
    );
  });

  test('absorb ends right behind the state, whether or not it had any use for it', () => {
    fc.assert(
      fc.property(rowsOf(found, 12), rowsOf(found, 12), (before, rows) => {
        const state = allAtOnce(partial, blockOf(found, before));
        const w = new ByteWriter();
        partial.encode(allAtOnce(partial, blockOf(found, rows)), w);
        w.u8(77);
        const r = new ByteReader(w.finish());
        partial.absorb(state, r);
        expect(r.u8()).toBe(77);
        expect(r.done).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  const mergeTest = partial.merge === undefined ? undefined : test;
  mergeTest?.('merge does what absorb of the encoded state does, and leaves that one as it is', () => {
    const some = fc.oneof(
      rowsOf(found, 12),
      fc.tuple(rowsOf(found, 150), rowsOf(found, 150)).map((both) => both.flat()),
    );
    fc.assert(
      fc.property(some, some, (before, rows) => {
        const other = allAtOnce(partial, blockOf(found, rows));
        const bytes = encode(partial, other);
        const [merged, absorbed] = [before, before].map((of) => allAtOnce(partial, blockOf(found, of)));
        partial.merge!(merged, other);
        partial.absorb(absorbed, new ByteReader(bytes));
        expect(encode(partial, merged)).toEqual(encode(partial, absorbed));
        expect(encode(partial, other)).toEqual(bytes);
      }),
      { numRuns: 60 },
    );
  });

  test('clear gives the state that create gives', () => {
    fc.assert(
      fc.property(rowsOf(found, 30), (rows) => {
        const block = blockOf(found, rows);
        const state = allAtOnce(partial, block);
        partial.clear(state);
        expect(encode(partial, state)).toEqual(encode(partial, partial.create()));
        partial.addRows(state, block, 0, block.length);
        expect(encode(partial, state)).toEqual(encode(partial, allAtOnce(partial, block)));
      }),
      { numRuns: 20 },
    );
  });

  test('an absorbed empty state changes nothing', () => {
    fc.assert(
      fc.property(rowsOf(found, 10), (rows) => {
        const state = allAtOnce(partial, blockOf(found, rows));
        const before = encode(partial, state);
        partial.absorb(state, new ByteReader(encode(partial, partial.create())));
        expect(encode(partial, state)).toEqual(before);
      }),
      { numRuns: 10 },
    );
  });

  test('truncated bytes are refused as corrupt', () => {
    fc.assert(
      fc.property(
        rowsOf(found, 8),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (rows, at) => {
          const bytes = encode(partial, allAtOnce(partial, blockOf(found, rows)));
          const cut = bytes.slice(0, Math.floor(at * bytes.length));
          expect(() => partial.absorb(partial.create(), new ByteReader(cut))).toThrow(CorruptBytesError);
        },
      ),
      { numRuns: 30 },
    );
  });

  test('a count far beyond the bytes is refused as corrupt and does not hang', () => {
    const huge = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    expect(() => partial.absorb(partial.create(), new ByteReader(huge))).toThrow(CorruptBytesError);
  });
});

test('a key names kind, column, need and parameters', () => {
  const value = { need: 'value', params: [] } as const;
  expect(partialKey({ kind: 'row_count', column: null, ...value })).toBe('row_count()');
  expect(partialKey({ kind: 'exact_sum', column: 'amount', ...value })).toBe('exact_sum(amount)');
  expect(partialKey({ kind: 'first_n', column: 'amount', need: 'value', params: [3] })).toBe(
    'first_n(amount,3)',
  );
  expect(partialKey({ kind: 'distinct', column: 'shop', need: 'hash', params: [9] })).toBe(
    'distinct(#shop,9)',
  );
});
