/** A history as a backfill takes it: what it holds of the log, and the states of a view from it. */
import { join } from 'node:path';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { DuckDb, isInterrupted, isOfFile, isOutOfMemory, isOutOfRoom, readError } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { type FillProgress, fillFromHistory, type StateSink } from './fill-from-history.ts';
import { InputError } from './input-error.ts';
import { MEMORY_DEFAULT_BYTES } from './memory-limits.ts';
import { tableFiles } from './table-files.ts';
import { SPILLED, temporaryWork } from './work-directory.ts';

const INTERRUPTED_EVERY_MS = 20;

export interface BackfillHistoryOptions {
  readonly view: CompiledView;
  /** A file, a folder or a pattern. */
  readonly path: string;
  /** Bytes, two thirds of it DuckDB's. @default 2 GiB */
  readonly memoryBytes?: number;
  /** DuckDB's. @default 1 */
  readonly threads?: number;
  /** Aborts what DuckDB does, which may take minutes. */
  readonly signal: AbortSignal;
}

export class BackfillHistory {
  readonly #db: DuckDb;
  readonly #view: CompiledView;
  readonly #history: EventHistory;

  private constructor(db: DuckDb, view: CompiledView, history: EventHistory) {
    this.#db = db;
    this.#view = view;
    this.#history = history;
  }

  /**
   * @returns what `work` does; null: the signal aborted before it, or while DuckDB was at work
   * @throws InputError where it cannot be read, or memory or disk do not do
   */
  static async use<T>(
    { view, path, memoryBytes = MEMORY_DEFAULT_BYTES, threads = 1, signal }: BackfillHistoryOptions,
    work: (history: BackfillHistory) => Promise<T>,
  ): Promise<T | null> {
    const place = await temporaryWork();
    try {
      const db = await DuckDb.open({
        memoryBytes: Math.floor((memoryBytes * 2) / 3),
        threads,
        spillDir: join(place.dir, SPILLED),
      });
      let interrupting: NodeJS.Timeout | undefined;
      const interrupt = (): void => {
        // Again and again: between two queries it is heard by none, and the next one begins all the same.
        interrupting = setInterval(() => db.interrupt(), INTERRUPTED_EVERY_MS);
      };
      signal.addEventListener('abort', interrupt);
      try {
        const history = await EventHistory.open(db, view.source, await tableFiles(path), place.dir);
        if (signal.aborted) return null;
        return await work(new BackfillHistory(db, view, history));
      } finally {
        signal.removeEventListener('abort', interrupt);
        clearInterval(interrupting);
        db.close();
      }
    } catch (error) {
      if (signal.aborted && isInterrupted(error)) return null;
      if (isOutOfRoom(error)) {
        throw new InputError(`there is no room left for ${place.dir}: make some, or set TMPDIR`, {
          cause: error,
        });
      }
      if (isOutOfMemory(error)) {
        throw new InputError('the memory does not do: give more (--memory)', { cause: error });
      }
      throw error;
    } finally {
      await place.remove();
    }
  }

  /** Whether its rows have the ids that facts get when they are loaded; true of what are no facts. */
  get hasFactIds(): boolean {
    const { batch, eventId } = this.#view.source;
    return batch === undefined || eventId === null || !this.#history.absent.includes(eventId);
  }

  /** See `fillFromHistory`. */
  async fill(
    args: {
      readonly sink: StateSink;
      readonly cut: readonly number[] | null;
      readonly nowMs: number;
      readonly load: number;
      readonly onProgress?: (progress: FillProgress) => void;
    },
    signal: AbortSignal,
  ): Promise<FillProgress | null> {
    const parts = { db: this.#db, view: this.#view, history: this.#history };
    try {
      return await fillFromHistory({ ...args, ...parts }, signal);
    } catch (error) {
      throw isOfFile(error) ? readError(this.#history.path, error) : error;
    }
  }
}
