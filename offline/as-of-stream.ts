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
import { ColumnBuffer, isNumberColumn, transported } from './column-buffer.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { ARRIVAL, type EventHistory, INVALID, POSITION } from './event-history.ts';
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
  const { eventId, columns } = view.source;
  const idKind: IdKind = eventId === null ? 'none' : columns[eventId]!.type;
  const kinds = [...(idKind === 'none' ? [] : [idKind]), ...fetched.map((name) => columns[name]!.type)];
  const buffer = new ColumnBuffer([true, true, true, true, ...kinds.map(isNumberColumn)], 2 * BATCH_ROWS);
  const take = (count: number): AsOfBatch => {
    const [keys, times, places, positions, ...others] = buffer.take(count) as [
      ...[Float64Array, Float64Array, Float64Array, Float64Array],
      ...BatchColumn[],
    ];
    const ids = idKind === 'none' ? null : others.shift()!;
    return { rows: count, keys, times, places, positions, ids, columns: others };
  };
  for await (const chunk of db.stream(streamSql(args, idKind))) {
    buffer.add(chunk);
    const count = buffer.length < BATCH_ROWS ? 0 : lastBoundary(buffer);
    if (count > 0) yield take(count);
  }
  if (buffer.length > 0) yield take(buffer.length);
}

/** How many rows there are before the last millisecond of a key; 0: it is the only one. */
function lastBoundary(buffer: ColumnBuffer): number {
  const keys = buffer.numbers(0);
  const times = buffer.numbers(1);
  let i = buffer.length - 1;
  while (i > 0 && keys[i] === keys[i - 1] && times[i] === times[i - 1]) i--;
  return i;
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
  const asksAbout = spine.eventId?.source === source;
  const idType = idKind === 'none' ? [] : [idKind];
  const eventSide = [
    'k.k AS k',
    `CAST(${time} AS BIGINT) AS t`,
    '-1 AS place',
    `CAST(e.${quoted(POSITION)} AS BIGINT) AS position`,
    ...idType.map(() => `${ofEvents(eventId!)} AS id`),
    ...fetched.map((name, c) => `${ofEvents(name)} AS c${c}`),
  ];
  const rowSide = [
    'k.k',
    `CAST(s.${quoted(AT)} AS BIGINT)`,
    `CAST(s.${quoted(PLACE)} AS INTEGER)`,
    '0',
    ...idType.map(() => (asksAbout ? `s.${quoted(EVENT_ID)}` : 'NULL')),
    ...fetched.map(() => 'NULL'),
  ];
  const keys = quoted(keyTable(entity.name));
  // As they come over they are wider: only what is sorted has to be held.
  const asSent = [
    ...['k', 't', 'place', 'position'].map((name) => `CAST(${name} AS DOUBLE)`),
    ...idType.map((type) => transported('id', type)),
    ...fetched.map((name, c) => transported(`c${c}`, source.columns[name]!.type)),
  ];
  return `
    SELECT ${asSent.join(', ')} FROM (
      SELECT ${eventSide.join(', ')}
      FROM (${history.select(needed)}) e JOIN ${keys} k ON k.key = ${key} AND k.k >= ${fromKey}
      WHERE ${conditions.join(' AND ')}
      UNION ALL
      SELECT ${rowSide.join(', ')}
      FROM ${SPINE} s JOIN ${keys} k ON k.key = s.${quoted(keyColumn(entity.name))} AND k.k >= ${fromKey}
      ORDER BY k, t)`;
}
