/**
 * Sources' logs as a history in files: of each source a snapshot, all begun at one moment, taken one after the other.
 * Whatever the log is: `LogAccess` opens it.
 */
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import type { DeadLetterReason } from '../ingest/dead-letter.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import type { LogInfo, LogReader } from '../ingest/log/event-log.ts';
import { Archive, type ArchiveLimits } from './archive.ts';
import { ArchiveColumnsError } from './archive-columns.ts';
import type { RefusedRecords } from './commit-record.ts';
import { SourceSnapshot } from './source-snapshot.ts';

/** A log cannot be a history; the message says what to do. */
export class LogHistoryError extends Error {
  override readonly name = 'LogHistoryError';
}

/** A source's log with all of its partitions, to be read now. */
export interface OpenedLog {
  readonly log: LogReader;
  readonly decoder: RecordDecoder;
  close(): Promise<void>;
}

export interface LogAccess {
  /** Where the source's log ends. */
  info(source: CompiledSource): Promise<LogInfo>;
  /** @param fail to be called where the log can be read no further, whatever is tried */
  open(source: CompiledSource, fail: (error: Error) => void, signal: AbortSignal): Promise<OpenedLog>;
  close(): Promise<void>;
}

export interface LogHistoryProgress {
  /** Which one is read now. */
  readonly source: string;
  /** Records that were passed, of `total`, over all sources; what another run had read is among them. */
  readonly records: number;
  readonly total: number;
}

/** For whoever reads a log as a history. */
export interface LogHistoryOptions {
  /** What was read is kept, then the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LogHistoryProgress) => void;
  /** Something failed and is tried again. */
  readonly onTrouble?: (error: unknown) => void;
  /** How long a log may stand still before that is final, ms. @default 2 min */
  readonly patienceMs?: number;
}

/** What was read of a source's log. */
export interface LoggedHistory {
  /** By partition: where the log began and, exclusively, ended; what came later is not in the history. */
  readonly offsets: readonly { readonly startOffset: number; readonly endOffset: number }[];
  /** Offsets that the log did not hold any more: the history lacks their events. */
  readonly gone: number;
  /** Records that are no events of the source. */
  readonly refused: ReadonlyMap<DeadLetterReason, number>;
}

/** A log as a history for training sets. */
export interface HistoryLog {
  /** Which log it is, as JSON. */
  readonly identity: unknown;
  /** See `LogHistory.writeTo`. */
  writeTo(directory: string, sources: readonly CompiledSource[]): Promise<ReadonlyMap<string, LoggedHistory>>;
}

/** What a kill undoes at most, ms. Rows and bytes bound it as well: see `ARCHIVE_LIMITS`. */
const COMMIT_EVERY_MS = 60_000;

export class LogHistory {
  readonly #open: () => Promise<LogAccess>;
  readonly #options: LogHistoryOptions;
  readonly #limits: Partial<ArchiveLimits>;

  /** @param args.limits for tests */
  constructor(args: {
    open: () => Promise<LogAccess>;
    options: LogHistoryOptions;
    limits?: Partial<ArchiveLimits>;
  }) {
    this.#open = args.open;
    this.#options = args.options;
    this.#limits = args.limits ?? {};
  }

  /**
   * Writes the events of these sources below the directory, as `source=NAME/…` (README.md), or goes on with what is there:
   * up to where the logs ended when it was begun. The log is not opened where all of it is there.
   * @returns by source
   * @throws {LogHistoryError} where a log cannot be a history
   * @throws {SnapshotError} where the log is another one than the one that was begun with
   * @throws what the log fails with, where that does not pass; the signal's reason
   */
  async writeTo(
    directory: string,
    sources: readonly CompiledSource[],
  ): Promise<ReadonlyMap<string, LoggedHistory>> {
    const archive = new Archive({ directory, everyMs: COMMIT_EVERY_MS }, { limits: this.#limits });
    let access: LogAccess | null = null;
    try {
      const snapshots: SourceSnapshot[] = [];
      for (const source of sources) {
        const found = await SourceSnapshot.find({ archive, source });
        if (found?.isComplete) snapshots.push(found);
        else {
          access ??= await this.#open();
          snapshots.push(
            found ?? (await SourceSnapshot.begin({ archive, source }, await access.info(source))),
          );
        }
      }
      const histories = new Map<string, LoggedHistory>();
      for (const snapshot of snapshots) {
        if (!snapshot.isComplete) await this.#take(snapshot, snapshots, access!);
        const { partitions, source } = snapshot;
        const gone = partitions.reduce((sum, partition) => sum + partition.gone, 0);
        const refused = new Map<DeadLetterReason, number>();
        for (const [reason, count] of partitions.flatMap((partition) => countsOf(partition.refused)))
          refused.set(reason, (refused.get(reason) ?? 0) + count);
        const offsets = partitions.map(({ startOffset, endOffset }) => ({ startOffset, endOffset }));
        histories.set(source.name, { offsets, gone, refused });
      }
      this.#options.signal?.throwIfAborted();
      return histories;
    } catch (error) {
      if (!(error instanceof ArchiveColumnsError)) throw error;
      throw new LogHistoryError(`${error.problem}: give its events as files`, { cause: error });
    } finally {
      await access?.close();
      await archive.close();
    }
  }

  async #take(snapshot: SourceSnapshot, all: readonly SourceSnapshot[], access: LogAccess): Promise<void> {
    const { onProgress = () => {}, onTrouble, patienceMs, signal } = this.#options;
    const { source } = snapshot;
    const failed = new AbortController();
    const either = AbortSignal.any([failed.signal, ...(signal === undefined ? [] : [signal])]);
    const total = all.reduce((sum, { size }) => sum + size, 0);
    const told = (): void =>
      onProgress({ source: source.name, total, records: all.reduce((sum, { passed }) => sum + passed, 0) });
    told();
    const { log, decoder, close } = await access.open(source, (error) => failed.abort(error), either);
    try {
      await snapshot.take({
        ...{ log, decoder, signal: either, onProgress: told },
        ...(onTrouble === undefined ? {} : { onTrouble }),
        ...(patienceMs === undefined ? {} : { patienceMs }),
      });
    } finally {
      await close();
    }
  }
}

const countsOf = (refused: RefusedRecords): [DeadLetterReason, number][] =>
  Object.entries(refused) as [DeadLetterReason, number][];
