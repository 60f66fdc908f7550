/**
 * The as-of stream of one view: the events of the spine's keys and the spine's rows, sorted by key and time, so that it is
 * enough to go through it once, with the events of one key in hand. DuckDB filters, joins and sorts; what does not fit its
 * memory goes to its files.
 *
 * Of the history only what some row can see comes along: events of keys that are asked for, not newer than the newest row
 * and not older than the longest window of the oldest; of these, the columns that the view reads.
 */
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledFeature, CompiledView } from '../engine/definitions/compiled.ts';
import { reachMs } from '../engine/windows/window-reach.ts';
import type { AsOfBatch, BatchColumn } from './as-of-batch.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { ARRIVAL, type EventHistory, INVALID } from './event-history.ts';
import { AT, EVENT_ID, keyColumn, keyTable, PLACE, SPINE, type Spine } from './spine.ts';

/** Rows of a batch at least, but for the last: a message to a thread costs some 50 µs. */
const BATCH_ROWS = 16_384;

export interface AsOfStreamArgs {
  readonly db: DuckDb;
  readonly view: CompiledView;
  readonly features: readonly CompiledFeature[];
  readonly history: EventHistory;
  readonly spine: Spine;
  /** Columns of the source to fetch, in the order of a batch's columns. */
  readonly fetched: readonly string[];
  /** Keys before this one are done. */
  readonly fromKey: number;
  /** Table of arrivals that are repeats of other events; null: there are none. */
  readonly repeats: string | null;
  /** Further condition on events as SQL; null: none. */
  readonly filter: string | null;
}

type IdKind = 'none' | ColumnType;

/** Batches of the stream; each ends between two milliseconds of a key. */
export async function* asOfStream(args: AsOfStreamArgs): AsyncGenerator<AsOfBatch> {
  const { db, view, fetched } = args;
  const idKind: IdKind =
    view.source.eventId === null ? 'none' : view.source.columns[view.source.eventId]!.type;
  const kinds = [
    ...(idKind === 'none' ? [] : [idKind]),
    ...fetched.map((name) => view.source.columns[name]!.type),
  ];
  const buffer = new RowBuffer(kinds);
  for await (const chunk of db.stream(streamSql(args, idKind))) {
    buffer.add(
      chunk.rowCount,
      Array.from({ length: chunk.columnCount }, (_, c) => chunk.getColumnVector(c) as unknown as Vector),
    );
    if (buffer.length >= BATCH_ROWS) {
      const batch = buffer.take(buffer.lastBoundary(), idKind !== 'none');
      if (batch !== null) yield batch;
    }
  }
  const last = buffer.take(buffer.length, idKind !== 'none');
  if (last !== null) yield last;
}

function streamSql(
  { view, features, history, spine, fetched, fromKey, repeats, filter }: AsOfStreamArgs,
  idKind: IdKind,
): string {
  const { source, definition, entity } = view;
  const { eventId } = source;
  const ofEvents = (name: string): string => `e.${quoted(name)}`;
  const needed = [
    ...new Set([source.eventTime, definition.keyColumn, ...(eventId === null ? [] : [eventId]), ...fetched]),
  ];
  const keyType = source.columns[definition.keyColumn]!.type;
  const key =
    keyType === 'string'
      ? ofEvents(definition.keyColumn)
      : `CAST(${ofEvents(definition.keyColumn)} AS VARCHAR)`;
  const reach = Math.max(...features.map(({ window }) => reachMs(window)));
  const time = ofEvents(source.eventTime);
  const conditions = [
    `e.${quoted(INVALID)} IS NULL`,
    `${time} <= ${spine.lastMs}`,
    // Infinity: a lifetime window sees everything.
    ...(reach === Number.POSITIVE_INFINITY ? [] : [`${time} > ${spine.firstMs - reach}`]),
    ...(repeats === null ? [] : [`e.${quoted(ARRIVAL)} NOT IN (SELECT arrival FROM ${quoted(repeats)})`]),
    ...(filter === null ? [] : [filter]),
  ];
  const ids = (event: string | null, row: string): readonly [string, string][] =>
    idKind === 'none' ? [] : [[transported(event!, idKind), row]];
  const asksAbout = spine.eventId?.source === source;
  const eventSide = [
    ['k.k', 'k'],
    [`CAST(${time} AS DOUBLE)`, 't'],
    ['CAST(-1 AS DOUBLE)', 'place'],
    [`CAST(e.${quoted(ARRIVAL)} AS DOUBLE)`, 'arrival'],
    ...ids(eventId === null ? null : ofEvents(eventId), 'id'),
    ...fetched.map((name, c) => [transported(ofEvents(name), source.columns[name]!.type), `c${c}`]),
  ];
  const rowSide = [
    'k.k',
    `CAST(s.${quoted(AT)} AS DOUBLE)`,
    `CAST(s.${quoted(PLACE)} AS DOUBLE)`,
    'CAST(0 AS DOUBLE)',
    ...(idKind === 'none'
      ? []
      : [asksAbout ? transported(`s.${quoted(EVENT_ID)}`, idKind) : nothing(idKind)]),
    ...fetched.map((name) => nothing(source.columns[name]!.type)),
  ];
  const keys = quoted(keyTable(entity.name));
  return `
    SELECT ${eventSide.map(([sql, name]) => `${sql} AS ${name}`).join(', ')}
    FROM (${history.select(needed)}) e JOIN ${keys} k ON k.key = ${key} AND k.k >= ${fromKey}
    WHERE ${conditions.join(' AND ')}
    UNION ALL
    SELECT ${rowSide.join(', ')}
    FROM ${SPINE} s JOIN ${keys} k ON k.key = s.${quoted(keyColumn(entity.name))} AND k.k >= ${fromKey}
    ORDER BY k, t`;
}

/** How a column comes over: numbers as DOUBLE with NaN for null, as they are then read as they lie; others as they are. */
export function transported(x: string, type: ColumnType): string {
  return type === 'string' || type === 'long' ? x : `coalesce(CAST(${x} AS DOUBLE), 'NaN'::DOUBLE)`;
}

function nothing(type: ColumnType): string {
  if (type === 'string') return 'CAST(NULL AS VARCHAR)';
  return type === 'long' ? 'CAST(NULL AS BIGINT)' : "'NaN'::DOUBLE";
}

/** Of DuckDB's vectors. */
export interface Vector {
  readonly items: Int32Array | Float64Array;
  getItem(i: number): unknown;
}

export const isNumberColumn = (type: ColumnType): boolean => type !== 'string' && type !== 'long';

/** A value of a text or long column. */
export function valueAt(vector: Vector, i: number): string | number | bigint | null {
  const value = vector.getItem(i) as string | bigint | null;
  if (typeof value !== 'bigint') return value;
  const asNumber = Number(value);
  return Number.isSafeInteger(asNumber) ? asNumber : value;
}

/** Rows of the stream that are no batch yet. */
class RowBuffer {
  #keys = new Int32Array(2 * BATCH_ROWS);
  /** Times, places, arrivals. */
  #numbers: Float64Array[] = Array.from({ length: 3 }, () => new Float64Array(2 * BATCH_ROWS));
  #columns: (Float64Array | (string | number | bigint | null)[])[];
  length = 0;

  constructor(kinds: readonly ColumnType[]) {
    this.#columns = kinds.map((kind) => (isNumberColumn(kind) ? new Float64Array(2 * BATCH_ROWS) : []));
  }

  add(rows: number, vectors: readonly Vector[]): void {
    if (this.length + rows > this.#keys.length) this.#grow();
    const at = this.length;
    this.#keys.set(vectors[0]!.items as Int32Array, at);
    this.#numbers.forEach((column, c) => {
      column.set(vectors[1 + c]!.items as Float64Array, at);
    });
    this.#columns.forEach((column, c) => {
      const vector = vectors[4 + c]!;
      if (column instanceof Float64Array) column.set(vector.items as Float64Array, at);
      else for (let i = 0; i < rows; i++) column[at + i] = valueAt(vector, i);
    });
    this.length += rows;
  }

  /** How many rows there are before the last millisecond of a key; 0: it is the only one. */
  lastBoundary(): number {
    const keys = this.#keys;
    const times = this.#numbers[0]!;
    let i = this.length - 1;
    while (i > 0 && keys[i] === keys[i - 1] && times[i] === times[i - 1]) i--;
    return i;
  }

  /** The first `count` rows as a batch of their own; null: there are none. */
  take(count: number, withIds: boolean): AsOfBatch | null {
    if (count === 0) return null;
    const keys = this.#keys.slice(0, count);
    const [times, places, arrivals] = this.#numbers.map((column) => column.slice(0, count)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const columns: BatchColumn[] = this.#columns.map((column) => column.slice(0, count));
    for (const column of [this.#keys, ...this.#numbers]) column.copyWithin(0, count, this.length);
    this.#columns.forEach((column) => {
      if (column instanceof Float64Array) column.copyWithin(0, count, this.length);
      else column.splice(0, count);
    });
    this.length -= count;
    const ids = withIds ? columns.shift()! : null;
    return { rows: count, keys, times, places, arrivals, ids, columns };
  }

  #grow(): void {
    const size = 2 * this.#keys.length;
    const keys = new Int32Array(size);
    keys.set(this.#keys);
    this.#keys = keys;
    const grown = (column: Float64Array): Float64Array => {
      const larger = new Float64Array(size);
      larger.set(column);
      return larger;
    };
    this.#numbers = this.#numbers.map(grown);
    this.#columns = this.#columns.map((column) => (column instanceof Float64Array ? grown(column) : column));
  }
}
