/** The matrix over one store as tests: blocks of cases, then whether every cell was met. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { operationRegistry } from '../../aggregators/operation-registry.ts';
import { DEPTH_MAX } from '../../tiles/grid.ts';
import { type CaseStores, openCaseStores, type StoreKind } from './case-stores.ts';
import { WINDOW_KINDS } from './cells.ts';
import { Coverage } from './coverage.ts';
import { runCases, runMissing, type SeedRange } from './run-cases.ts';

const BLOCKS = 8;
const TIMEOUT_MS = 3_600_000;
/** A cell that as many aimed cases did not meet cannot be met. */
const ROUNDS_MAX = 40;

/** What must occur beside the cells: of definitions, of trees, of what happens to events, and of answers. */
const EXPECTED = [
  ...[...operationRegistry.values()].flatMap(({ name, accepts, columnOptional }) => [
    ...(accepts ?? []).map((type) => `operation ${name} of ${type}`),
    ...(columnOptional ? [`operation ${name} of events`] : []),
  ]),
  ...Array.from({ length: DEPTH_MAX + 1 }, (_, depth) => depth).map((depth) => `tree of depth ${depth}`),
  ...['offset', 'condition', 'secondary key', 'both', 'text kept, its hash computed', 'wide partials'],
  ...['truncated', 'present', 'empty', 'coarse value', 'last events incomplete'],
  ...['redelivery', 'event repeated', 'rows skipped as duplicates', 'rows dropped as too late'],
  ...['writes lost to another', 'states ended', 'rows in collapsed tiles', 'rows in a prefix'],
  ...['asked, recorded', 'asked, not recorded'],
  // Where states are bounded.
  ...['states coarsened by ingest', 'states coarsened by compaction', 'new edge before a collapsed tile'],
  ...['sequence over late events of a collapsed tile', 'asked of a collapsed tile'],
  ...WINDOW_KINDS.filter((kind) => kind !== 'last_events').map((kind) => `coarse at the bound, ${kind}`),
  ...['wide partials coarse at the bound', 'wide partials exact at the bound'],
  ...['rows given up at the bound, narrow', 'rows given up at the bound, wide'],
  // More values than are kept exactly: only then are sketches held to their bounds.
  ...['percentile', 'percentiles', 'median', 'approx_distinct_count', 'top_k_frequent'].map(
    (name) => `approximate ${name}`,
  ),
];

/** @param rare whether the cases are enough to meet everything else that is rare, not only every cell */
export function testMatrix(
  kind: StoreKind,
  { first, count, rare }: SeedRange & { readonly rare: boolean },
): void {
  const coverage = new Coverage();
  let stores: CaseStores;
  beforeAll(async () => {
    stores = await openCaseStores(kind);
  });
  afterAll(() => stores?.close());

  const perBlock = Math.ceil(count / BLOCKS);
  for (let from = first; from < first + count; from += perBlock) {
    const block = { first: from, count: Math.min(perBlock, first + count - from) };
    test(
      `seeds ${from} to ${from + block.count - 1}`,
      async () => expectNone(await runCases(stores, block, coverage)),
      TIMEOUT_MS,
    );
  }

  test(
    'every cell of the matrix has values, and the cases were not all easy ones',
    async () => {
      const asked = coverage.cases;
      expectNone(await runMissing(stores, { first: first + count, rounds: ROUNDS_MAX }, coverage));
      console.log(
        [
          `${kind}: ${asked} cases from seed ${first}, ${coverage.cases - asked} more for rare cells, ` +
            `${coverage.values} values compared`,
          ...coverage.summary(),
          ...(rare ? coverage.occurrences() : []),
        ].join('\n'),
      );
      expect(coverage.missing(), 'cells without a value').toEqual([]);
      if (rare) expect(EXPECTED.filter((what) => !coverage.seen.has(what))).toEqual([]);
    },
    TIMEOUT_MS,
  );
}

function expectNone(failures: readonly Error[]): void {
  if (failures.length === 0) return;
  throw new Error(failures.map(({ message }) => message).join('\n'), { cause: failures[0]!.cause });
}
