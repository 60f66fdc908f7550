/** Views whose filter or projection looks at its event in every way that matters to which columns are fetched. */

import { compileRepo } from '../../engine/definitions/compile.ts';
import type { EventRow } from '../../engine/definitions/types.ts';
import {
  count,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';

export const things = streamSource({
  name: 'things',
  columns: {
    key: string(),
    at: timestamp(),
    n: integer(),
    kind: string({ nullable: true }),
    extra: integer({ nullable: true }),
    more: integer({ nullable: true }),
  },
  eventTime: 'at',
});

export interface Thing extends EventRow {
  readonly key: string;
  readonly at: number;
  readonly n: number;
  readonly kind: string | null;
  readonly extra: number | null;
  readonly more: number | null;
}

/** The first event that is not among those at which closures are watched. */
export const LATE = 2_500;

const value = (row: Thing): number => row.n;

/** Filter and projection by the name of the view. */
export const CLOSURES: Readonly<
  Record<string, { filter?: (row: Thing) => boolean; from?: (row: Thing) => number }>
> = {
  reads_late: { from: (row) => (row.n < LATE ? 1 : row.extra!) },
  reads_two_late: { from: (row) => (row.n < LATE ? 1 : row.extra! + (row.n % 2 === 0 ? row.more! : 0)) },
  catches_late: {
    from: (row) => {
      try {
        return row.n < LATE ? 1 : row.extra!;
      } catch {
        return -1;
      }
    },
  },
  spreads_late: { from: (row) => (row.n < LATE ? 1 : ({ ...row } as Thing).more!) },
  filters_late: { filter: (row) => row.n < LATE || row.extra! % 3 === 0 },
  filters_late_catching: {
    filter: (row) => {
      try {
        return row.n < LATE || row.extra! % 3 === 0;
      } catch {
        return false;
      }
    },
  },
  names_late: { from: (row) => (row.n < LATE ? 1 : Object.keys(row).length) },
  names: { from: (row) => Object.keys(row).length * 10 + (row.n < LATE ? 1 : row.extra!) },
  spreads: { from: (row) => Object.values({ ...row }).filter((own) => own === null).length },
  asks_whether: { from: (row) => ('extra' in row ? 1 : 0) + ('nothing' in row ? 10 : 0) },
  of_a_kind: { filter: (row) => row.kind === 'a' },
  of_no_kind: { filter: (row) => row.kind === null },
  of_two: { filter: (row) => row.kind === 'a' && row.extra! % 2 === 0 },
  of_none: { filter: () => false },
  of_all: { filter: () => true },
  by_a_value: { filter: (row) => row.n % 2 === 0 },
  rare_reads_more: { filter: (row) => row.kind === 'a' || (row.kind === 'rare' && row.extra === LATE + 10) },
  throws: {
    from: (row) => {
      if (row.n % 10 === 0) throw new Error(`no ${row.n}`);
      return 1;
    },
  },
  filter_throws: {
    filter: (row) => {
      if (row.kind === null) throw new Error('no kind');
      return row.kind === 'a';
    },
  },
  no_answer: { filter: (row) => (row.kind === 'a' ? true : (undefined as unknown as boolean)) },
};

const key = entity('key');

const views = Object.entries(CLOSURES).map(([name, { filter, from = value }]) =>
  featureView({
    name,
    source: things,
    entity: key,
    ...(filter === undefined ? {} : { filter: filter as never }),
    project: { value: { type: 'integer', from: from as never } },
    features: { [`${name}_n`]: count().over('30d'), [`${name}_sum`]: sum('value').over('30d') },
  } as never),
);

export const repo = compileRepo([
  ...views,
  ...views.map((view, v) => featureService({ name: `of_${Object.keys(CLOSURES)[v]}`, features: [view] })),
]);

/** `LATE` and more events of two keys. */
export const events: readonly Thing[] = Array.from({ length: 4_000 }, (_, n) => ({
  key: n % 2 === 0 ? 'even' : 'odd',
  at: 1_700_000_000_000 + n,
  n,
  kind: n === LATE + 10 ? 'rare' : n === LATE + 12 ? 'rare' : ['a', 'b', null][n % 3]!,
  extra: n % 7 === 0 && n < LATE ? null : n,
  more: n + 1,
}));
