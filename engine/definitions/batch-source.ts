import { type Duration, durationMsOrAsIs } from '../windows/duration.ts';
import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import { type ColumnNames, long, type TypedColumn, timestamp } from './column.ts';
import { DESCRIBED_OPTIONS } from './described.ts';
import { type StreamSourceOptions, streamSource } from './stream-source.ts';
import type { BatchTable, Columns, StreamSource } from './types.ts';

/** The event id of facts, which `millrace load` gives: of two facts of one time the one that was loaded later counts as the later. */
export const FACT_ID = 'fact_id';
/** When a fact was loaded: its effective time, where the table has none. */
export const LOADED_AT = 'loaded_at';
/** A price of next year is known today; beyond that `millrace load` leaves facts for later. */
export const DEFAULT_FACTS_MAX_FUTURE: Duration = '366d';

/** Types of which equal values are one text each. */
type KeyType = 'string' | 'integer' | 'long';

export interface BatchSourceOptions<C extends Columns, E extends string | undefined>
  extends Pick<
    StreamSourceOptions<C>,
    'name' | 'topic' | 'dedupeHorizon' | 'maxFuture' | 'lateness' | (typeof DESCRIBED_OPTIONS)[number]
  > {
  /** Those of the table. */
  readonly columns: C;
  /** Columns of the table that say what a fact is about: together with the effective time they name one row. */
  readonly key: ColumnNames<C, KeyType, false> | readonly ColumnNames<C, KeyType, false>[];
  /**
   * The table: a file, a folder or a pattern (Parquet, CSV, NDJSON, Arrow), or a query for DuckDB. Relative paths begin at the
   * feature repo. `setup` is run before the query, such as `ATTACH` of a database.
   */
  readonly from: string | { readonly sql: string; readonly setup?: string };
  /** A non-nullable `timestamp` column: from when on a row holds. @default the time at which it was loaded */
  readonly effectiveTime?: E & ColumnNames<C, 'timestamp', false>;
  /** How often `millrace load` looks for what is new, at least a second. @default once, when it is started */
  readonly every?: Duration;
}

/** The columns that facts have beside those of the table. */
export type FactColumns<E> = { readonly [FACT_ID]: TypedColumn<'long', false> } & (E extends string
  ? unknown
  : { readonly [LOADED_AT]: TypedColumn<'timestamp', false> });

const KNOWN = [
  'name',
  'topic',
  'columns',
  'key',
  'from',
  'effectiveTime',
  'every',
  'dedupeHorizon',
  'maxFuture',
  'lateness',
  ...DESCRIBED_OPTIONS,
];

const HINTS = {
  eventTime: "the time from which a row holds is 'effectiveTime'",
  eventId: `every fact gets an id when it is loaded, in the column '${FACT_ID}'`,
};

/**
 * Slow-moving facts from a table: each version of a row is an event, at the time from which it holds. `millrace load` reads
 * the table and pushes what is new or changed.
 *
 * @example
 * const customers = batchSource({
 *   name: 'customers',
 *   columns: { customer_id: integer(), segment: string(), since: timestamp() },
 *   key: 'customer_id',
 *   from: 'customers.parquet',
 *   effectiveTime: 'since',
 *   every: '1d',
 * });
 * const profile = featureView({
 *   name: 'profile', source: customers, entity: customer, features: { segment: last('segment').lifetime() },
 * });
 */
export function batchSource<const C extends Columns, const E extends string | undefined = undefined>(
  given: BatchSourceOptions<C, E>,
): StreamSource<C & FactColumns<E>> {
  const options = readableOptions(given);
  const { columns, key, from, effectiveTime, every, ...common } = options;
  const own: Columns = {
    ...(effectiveTime === undefined ? { [LOADED_AT]: timestamp() } : {}),
    [FACT_ID]: long(),
  };
  const { problems: _, ...source } = streamSource({
    maxFuture: DEFAULT_FACTS_MAX_FUTURE,
    ...(common as unknown as { name: string }),
    columns: { ...columns, ...own } as Columns,
    eventTime: (effectiveTime ?? LOADED_AT) as never,
    eventId: FACT_ID as never,
  });
  const table: BatchTable = Object.freeze({
    from: (typeof from === 'string'
      ? Object.freeze({ path: from })
      : Object.freeze({ ...readableOptions(from as object) })) as BatchTable['from'],
    key: Object.freeze(typeof key === 'string' ? [key] : [...(Array.isArray(key) ? key : [])]),
    columns: Object.freeze(Object.keys(readableOptions(columns as object))),
    effectiveTime: effectiveTime ?? null,
    everyMs: every === undefined ? null : durationMsOrAsIs(every),
  });
  const taken = Object.keys(own).filter((name) => Object.hasOwn(readableOptions(columns as object), name));
  return Object.freeze({
    ...source,
    batch: table,
    ...withProblems([
      ...unknownOptions('', given, KNOWN, HINTS),
      ...taken.map(
        (name) =>
          `column '${name}' is one that facts get when they are loaded: give that of the table another name`,
      ),
    ]),
  }) as unknown as StreamSource<C & FactColumns<E>>;
}
