/** Writes all states of a history to whoever keeps them, no faster than its share of time allows. */
import { setTimeout as delay } from 'node:timers/promises';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import type { DuckDb } from './duckdb.ts';
import type { EventHistory } from './event-history.ts';
import { type HistoryState, historyStates, surveyStates } from './history-states.ts';
import { RefusedRecords, unappliedRecords } from './unapplied-records.ts';

export interface StateSink {
  /** Writes states of keys that have none. @returns how many */
  write(states: readonly HistoryState[]): Promise<number>;
  /**
   * @param newestMs by partition of the log: event time of the newest event, ms; −1, or left out: there is none
   * @param unapplied by partition: which records below the cut do not count; left out: nobody knows
   */
  complete(newestMs: readonly number[], unapplied: readonly UnappliedOffsets[]): Promise<void>;
}

export interface FillProgress {
  readonly events: number;
  readonly totalEvents: number;
  /** Of keys. */
  readonly states: number;
  /** Of these, such as were not there. */
  readonly written: number;
  /** Events that do not count, as the filter or a projection fails. */
  readonly refused: number;
  /** Rows that break the source's schema, by the column: they do not count. */
  readonly broken: ReadonlyMap<string, number>;
  /** Rows that lie further in the future than the source allows; they do not count. */
  readonly ahead: number;
}

export interface FillArgs {
  readonly db: DuckDb;
  readonly view: CompiledView;
  readonly history: EventHistory;
  readonly sink: StateSink;
  /** By partition: records below count. null: all of the history does. */
  readonly cut: readonly number[] | null;
  /** As the engine has it, ms. */
  readonly nowMs: number;
  /** Share of the time in which a write may be under way, 0 < load ≤ 1: the rest is for whoever reads. */
  readonly load: number;
  readonly onProgress?: (progress: FillProgress) => void;
}

/** Resolves when all is written and completed; with null where the signal aborted before. */
export async function fillFromHistory(args: FillArgs, signal: AbortSignal): Promise<FillProgress | null> {
  const { sink, load, onProgress = () => {} } = args;
  const { events: totalEvents, newestMs, broken, ahead, use } = await surveyStates(args);
  let progress: FillProgress = { events: 0, totalEvents, states: 0, written: 0, refused: 0, broken, ahead };
  onProgress(progress);
  if (signal.aborted) return null;
  const unusable = new RefusedRecords();
  for await (const { states, made, events, refused } of historyStates({ ...args, refused: unusable }, use)) {
    if (signal.aborted) return null;
    const beganMs = performance.now();
    const written = states.length === 0 ? 0 : await sink.write(states);
    const tookMs = performance.now() - beganMs;
    progress = {
      ...{ events, totalEvents, refused, broken, ahead },
      // Where it was begun anew, as a column was found lacking, they come again, and are there already.
      states: made,
      written: progress.written + written,
    };
    onProgress(progress);
    await delay(tookMs * (1 / load - 1), undefined, { signal }).catch(() => {});
  }
  if (signal.aborted) return null;
  const { db, history, cut } = args;
  const unapplied = await unappliedRecords({ db, history, cut: cut ?? [], refused: unusable });
  await sink.complete(newestMs, unapplied);
  return progress;
}
