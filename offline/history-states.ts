/**
 * The states of a view from a history, key after key, as a backfill writes them: DuckDB sorts the events by key and arrival,
 * and each key's are made a state at once.
 */
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { ProjectionError } from '../engine/definitions/projection-error.ts';
import { type EventId, integerEventId, positionEventId, textEventId } from '../engine/event-id.ts';
import { type BuiltRow, type BuiltState, StateBuilder } from '../engine/tiles/state-builder.ts';
import { retentionLowMs } from '../engine/tiles/state-update.ts';
import { ColumnBuffer, isNumberColumn, transported } from './column-buffer.ts';
import { type ColumnUse, columnUse } from './column-use.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import {
  APPENDED,
  ARRIVAL,
  type EventHistory,
  INVALID,
  OFFSET,
  ORIGIN,
  PARTITION,
  STAMP,
} from './event-history.ts';
import { ColumnNotFetchedError, FetchedRow } from './fetched-row.ts';
import { InputError } from './input-error.ts';
import type { RefusedRecords } from './unapplied-records.ts';

/** One key's state, as a store takes it. */
export interface HistoryState extends BuiltState {
  readonly key: string;
}

/** States that are written in one call. */
export interface HistoryStates {
  readonly states: readonly HistoryState[];
  /** Of keys gone through so far, these included. */
  readonly made: number;
  /** Events gone through so far, those of these states included. */
  readonly events: number;
  /** Of these, such as do not count as the filter or a projection fails. */
  readonly refused: number;
}

export interface HistoryStatesArgs {
  readonly db: DuckDb;
  readonly view: CompiledView;
  readonly history: EventHistory;
  /** By partition: records below count. null: all of the history does. */
  readonly cut: readonly number[] | null;
  /** As the engine has it: what no window reaches from there is left out, ms. */
  readonly nowMs: number;
  /** Told of records of the log that the filter or a projection fails on. @default nobody is */
  readonly refused?: RefusedRecords;
}

export const BACKFILL_LIMITS = {
  /** Written in one call: an embedded store keeps its thread for as long as it takes, and readers wait. */
  states: 32,
  /** Of these; one state alone may be larger. */
  bytes: 64 * 1024,
  /** Events of a key, handed over at once: bounds memory, whatever a key's history is. */
  events: 2_000,
} as const;

export interface StatesSurvey {
  /** To go through. */
  readonly events: number;
  /**
   * By partition, of records of a log: event time of the newest, also of those that the view's filter leaves out, ms. Empty: a
   * history of something else, which says nothing of how far a log has come.
   */
  readonly newestMs: readonly number[];
  /** Rows that lie further in the future than the source allows; they do not count. */
  readonly ahead: number;
  /** Rows that break the source's schema, by the column; they do not count. */
  readonly broken: ReadonlyMap<string, number>;
  readonly use: ColumnUse;
}

/** One scan of what is needed. */
export async function surveyStates(args: HistoryStatesArgs): Promise<StatesSurvey> {
  const { db, view, history, cut, nowMs } = args;
  if (cut !== null && !history.hasOffsets)
    throw new InputError(
      `${history.path}: no row says which record of the log it is, as those of an archive do`,
    );
  const use = await columnUse(db, view, history);
  const time = `e.${quoted(view.source.eventTime)}`;
  const rows = await db.rows(
    `SELECT ${quoted(INVALID)} AS broken, count(*) AS rows, count(*) FILTER (${conditions(args, use.filter)}) AS events,
       count(*) FILTER (e.${quoted(INVALID)} IS NULL AND ${time} > ${nowMs + view.source.maxFutureMs}) AS ahead,
       ${cut === null ? 'CAST(NULL AS BIGINT)' : `e.${quoted(PARTITION)}`} AS partition,
       max(${time}) FILTER (${conditions(args, null)}) AS newest
     FROM (${history.select(neededColumns(view, use))}) e GROUP BY 1, partition`,
  );
  const broken = new Map<string, number>();
  let events = 0;
  let ahead = 0;
  const newestMs = (cut ?? []).map(() => -1);
  for (const row of rows) {
    if (row.broken !== null) {
      const name = String(row.broken);
      broken.set(name, (broken.get(name) ?? 0) + Number(row.rows));
    }
    events += Number(row.events);
    if (cut === null) ahead += Number(row.ahead);
    else if (row.newest !== null) newestMs[Number(row.partition)] = Number(row.newest);
  }
  return { events, newestMs, ahead, broken, use };
}

/** Yields states in the order of their keys; of a key all at once. @param given which columns are read: of the survey */
export async function* historyStates(
  args: HistoryStatesArgs,
  given: ColumnUse,
): AsyncGenerator<HistoryStates> {
  let use = given;
  for (;;) {
    try {
      // Those that were yielded before a column was found lacking are right: they are yielded again.
      yield* statesOf(args, use);
      return;
    } catch (error) {
      if (!(error instanceof ColumnNotFetchedError)) throw error;
      use = { ...use, fetched: [...use.fetched, error.column] };
    }
  }
}

function neededColumns({ source, definition }: CompiledView, { fetched }: ColumnUse): string[] {
  const { eventTime, eventId } = source;
  return [...new Set([eventTime, definition.keyColumn, ...(eventId === null ? [] : [eventId]), ...fetched])];
}

function conditions({ view, cut, nowMs }: HistoryStatesArgs, filter: string | null): string {
  const lowMs = view.keepsForever ? 0 : retentionLowMs(view, nowMs);
  const below = (cut ?? []).map(
    (offset, partition) => `WHEN ${partition} THEN e.${quoted(OFFSET)} < ${offset}`,
  );
  return [
    `e.${quoted(INVALID)} IS NULL`,
    `e.${quoted(view.definition.keyColumn)} IS NOT NULL`,
    ...(lowMs === 0 ? [] : [`e.${quoted(view.source.eventTime)} >= ${lowMs}`]),
    // What an archive has was judged when it was appended.
    ...(cut === null ? [`e.${quoted(view.source.eventTime)} <= ${nowMs + view.source.maxFutureMs}`] : []),
    ...(cut === null
      ? []
      : [below.length === 0 ? 'false' : `CASE e.${quoted(PARTITION)} ${below.join(' ')} ELSE false END`]),
    ...(filter === null ? [] : [filter]),
  ].join(' AND ');
}

async function* statesOf(args: HistoryStatesArgs, use: ColumnUse): AsyncGenerator<HistoryStates> {
  const { db, view, history, cut, nowMs } = args;
  const { source, definition } = view;
  const { columns, eventId } = source;
  const fetched = [...new Set([...use.fetched, definition.keyColumn])];
  const idKind: ColumnType | null = eventId === null ? null : columns[eventId]!.type;
  const number = (name: string): string => `coalesce(CAST(e.${quoted(name)} AS DOUBLE), 'NaN'::DOUBLE)`;
  const selected = [
    ...[source.eventTime, ARRIVAL, PARTITION, OFFSET, APPENDED, ORIGIN].map(number),
    idKind === null ? `e.${quoted(STAMP)}` : transported(`e.${quoted(eventId!)}`, idKind),
    ...fetched.map((name) => transported(`e.${quoted(name)}`, columns[name]!.type)),
  ];
  const isNumber = [
    ...Array.from({ length: 6 }, () => true),
    idKind !== null && isNumberColumn(idKind),
    ...fetched.map((name) => isNumberColumn(columns[name]!.type)),
  ];
  const sql = `SELECT ${selected.map((one, c) => `${one} AS c${c}`).join(', ')} FROM (${history.select(neededColumns(view, use))}) e
    WHERE ${conditions(args, use.filter)} ORDER BY e.${quoted(definition.keyColumn)}, e.${quoted(ARRIVAL)}`;

  const row = new FetchedRow(view, fetched);
  const builder = new StateBuilder(view);
  let key: string | null = null;
  let rows: BuiltRow[] = [];
  let ready: HistoryState[] = [];
  let bytes = 0;
  let made = 0;
  let events = 0;
  let refused = 0;
  /** Of the key at hand. */
  let seen = new Set<number>();
  const flush = (): void => {
    if (rows.length > 0) builder.add(rows, nowMs);
    rows = [];
  };
  const endKey = (): void => {
    flush();
    const floors = new Map(
      cut === null ? [] : [...seen].map((partition): [number, number] => [partition, cut[partition]!]),
    );
    seen = new Set();
    const state = key === null ? null : builder.finish(nowMs, floors);
    if (state === null) return;
    ready.push({ key: key!, ...state });
    bytes += state.head.length;
    for (const field of state.fields.values()) bytes += field.length;
  };
  const take = (): HistoryStates => {
    const states = ready;
    made += states.length;
    ready = [];
    bytes = 0;
    return { states, made, events, refused };
  };
  for await (const chunk of db.stream(sql)) {
    const buffer = new ColumnBuffer(isNumber, chunk.rowCount);
    buffer.add(chunk);
    const [times, arrivals, partitions, offsets, appended, origins, ids, ...values] = buffer.take(
      chunk.rowCount,
    ) as [
      ...[Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array],
      ...(readonly (string | number | bigint | null)[])[],
    ];
    for (let i = 0; i < chunk.rowCount; i++) {
      events++;
      const event = row.of({ columns: values }, i);
      let own: string | null;
      let projected: ReturnType<CompiledView['project']> = null;
      try {
        own = view.keyOf(event);
        if (own !== null) projected = view.project(event);
        row.check();
      } catch (error) {
        row.check();
        if (!(error instanceof ProjectionError)) throw error;
        refused++;
        if (cut !== null) args.refused?.add(partitions[i]!, orNull(origins[i]!) ?? offsets[i]!);
        continue;
      }
      if (own === null || projected === null) continue;
      if (own !== key) {
        endKey();
        key = own;
        if (ready.length >= BACKFILL_LIMITS.states || bytes >= BACKFILL_LIMITS.bytes) yield take();
      }
      const originOffset = orNull(origins[i]!);
      const offset = originOffset ?? orNull(offsets[i]!);
      const position =
        offset === null ? positionEventId(0, arrivals[i]!) : positionEventId(partitions[i]!, offset);
      const given = ids![i] ?? null;
      const ofEvent: EventId | null = idKind === null || given === null ? null : eventIdOf(given);
      const stamp = idKind === null && given !== null ? textEventId(given as string) : null;
      const isCopy = originOffset !== null;
      const id = ofEvent ?? position;
      if (cut !== null) seen.add(partitions[i]!);
      rows.push({
        timeMs: times[i]!,
        appendedMs: orNull(appended[i]!) ?? times[i]!,
        id,
        dedupeId: ofEvent ?? stamp ?? (isCopy ? id : null),
        values: projected,
        isCopy,
      });
      if (rows.length >= BACKFILL_LIMITS.events) flush();
    }
  }
  endKey();
  yield take();
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);

const eventIdOf = (value: string | number | bigint): EventId =>
  typeof value === 'string' ? textEventId(value) : integerEventId(value);
