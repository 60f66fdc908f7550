/**
 * A source's log as it was at one moment, as files: all that it held then, up to the ends seen first, in an archive of its
 * own. The ends are written down before anything is read, so that a snapshot that was killed goes on to the same ones;
 * how far it is the archive's commits say, and nothing else.
 */
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import { type Clock, WallClock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { MissingSchemaError } from '../ingest/decoding/missing-schema-error.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import type { LogInfo, LogReader } from '../ingest/log/event-log.ts';
import { InvalidRecordError, LogClosedError } from '../ingest/log/log-errors.ts';
import { PartitionStoppedError } from '../ingest/partition-stopped.ts';
import type { Archive } from './archive.ts';
import { BoundedLog } from './bounded-log.ts';
import type { RefusedRecords } from './commit-record.ts';
import { PartitionArchiver } from './partition-archiver.ts';
import { PartitionCommits } from './partition-commits.ts';
import { readSnapshotEnds, SnapshotError, writeSnapshotEnds } from './snapshot-ends.ts';

export interface SnapshotOptions {
  /** Of one log, and of one process at a time. Its `everyMs` bounds how much a kill undoes. */
  readonly archive: Archive;
  readonly source: CompiledSource;
  /** Processing time. @default the machine's clock */
  readonly wallClock?: Clock;
}

/** Where a snapshot of a partition begins and ends, and how far it is. */
export interface SnapshotPartition {
  readonly partition: number;
  /** Where the log began when the snapshot was begun. */
  readonly startOffset: number;
  /** Exclusive: whoever reads the log on from here has everything once. */
  readonly endOffset: number;
  /** Everything below it is in files, was no event, or was gone. */
  readonly nextOffset: number;
  /** Offsets that the log did not hold any more when they were to be read. */
  readonly gone: number;
  /** Records that are no events of the source. */
  readonly refused: RefusedRecords;
}

export interface TakeOptions {
  /** With all partitions of the source. */
  readonly log: LogReader;
  readonly decoder: RecordDecoder;
  /** Commits what waits, then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** @param passed offsets, of `size`, those of former calls included */
  readonly onProgress?: (passed: number) => void;
  /** Something failed and is tried again. */
  readonly onTrouble?: (error: unknown) => void;
  /** How long a partition may stand still that is final, ms. @default 2 min */
  readonly patienceMs?: number;
}

/** Read side by side: while one is written, others are read. */
const PARTITIONS_AT_ONCE = 4;
/** A consumer gives its brokers up after 40 s, and is made again. */
const PATIENCE_MS = 120_000;
const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5_000;
/** Where a log had nothing it is asked again after so long. */
const NOTHING_MS = 20;

interface Part {
  readonly partition: number;
  readonly startOffset: number;
  readonly endOffset: number;
  /** Committed up to here. */
  nextOffset: number;
  /** Read up to here. */
  readTo: number;
  gone: number;
  refused: RefusedRecords;
}

type Run = TakeOptions & { readonly signal: AbortSignal };

export class SourceSnapshot {
  readonly source: CompiledSource;
  readonly #archive: Archive;
  readonly #wallClock: Clock;
  readonly #parts: readonly Part[];

  /**
   * What was begun in the archive's directory before; null: nothing was.
   * @throws {SnapshotError} where it cannot be gone on with
   * @throws {ArchiveColumnsError}
   */
  static async find(options: SnapshotOptions): Promise<SourceSnapshot | null> {
    const ends = await readSnapshotEnds(options.archive, options.source.definition);
    if (ends === null) return null;
    const parts = ends.map(({ startOffset, endOffset }, partition) => {
      return { partition, startOffset, endOffset, nextOffset: 0, readTo: startOffset, gone: 0, refused: {} };
    });
    const snapshot = new SourceSnapshot(options, parts);
    for (const part of parts) await snapshot.#look(part);
    return snapshot;
  }

  /**
   * Goes on with what was begun, or writes down where the log ends now.
   * @throws {SnapshotError} where what was begun cannot be gone on with
   * @throws {ArchiveColumnsError} where the source's columns have names that an archive needs
   */
  static async begin(options: SnapshotOptions, log: LogInfo): Promise<SourceSnapshot> {
    const found = await SourceSnapshot.find(options);
    if (found !== null) return found;
    const numbers = Array.from({ length: await log.partitions() }, (_, partition) => partition);
    const ends = await Promise.all(numbers.map((partition) => log.ends(partition)));
    await writeSnapshotEnds(options.archive, options.source.definition, ends);
    return (await SourceSnapshot.find(options))!;
  }

  private constructor({ archive, source, wallClock }: SnapshotOptions, parts: readonly Part[]) {
    this.#archive = archive;
    this.source = source;
    this.#wallClock = wallClock ?? new WallClock();
    this.#parts = parts;
  }

  /** All of them, by their numbers. */
  get partitions(): readonly SnapshotPartition[] {
    return this.#parts.map(({ readTo: _, ...part }) => part);
  }

  /** Nothing has to be read any more. */
  get isComplete(): boolean {
    return this.#parts.every(isComplete);
  }

  /** Offsets from where the log began to where it ended, over all partitions. */
  get size(): number {
    return this.#parts.reduce((sum, { startOffset, endOffset }) => sum + endOffset - startOffset, 0);
  }

  /** As many of `size` have been read. */
  get passed(): number {
    return this.#parts.reduce((sum, { startOffset, readTo }) => sum + readTo - startOffset, 0);
  }

  /**
   * Reads up to the ends. May be called again after it threw, also by another process.
   * @throws {SnapshotError} where the log is not the one any more that the snapshot was begun of, or does not go on
   * @throws what log, decoder and disk fail with, where that does not pass; the signal's reason
   */
  async take(options: TakeOptions): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([
      failed.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
    const waiting = this.#parts.filter((part) => !isComplete(part));
    const lane = async (): Promise<void> => {
      for (let part = waiting.shift(); part !== undefined && !signal.aborted; part = waiting.shift()) {
        await this.#take(part, { ...options, signal }).catch((error: unknown) => failed.abort(error));
      }
    };
    // All have committed what they had before anybody hears of one that failed.
    await Promise.all(Array.from({ length: PARTITIONS_AT_ONCE }, lane));
    signal.throwIfAborted();
  }

  async #take(part: Part, run: Run): Promise<void> {
    const { signal, onProgress = () => {}, onTrouble = () => {}, patienceMs = PATIENCE_MS } = run;
    const archiver = this.#archiver(part, run);
    const leave = this.#archive.enter();
    let movedMs = performance.now();
    let failures = 0;
    try {
      while (!signal.aborted && !isComplete(part)) {
        // A log on this machine never leaves the microtasks: everyone else must get a turn.
        await immediate();
        const before = archiver.nextOffset;
        let failure: unknown = null;
        try {
          if (before === part.endOffset) await archiver.commit();
          else await archiver.step();
          failures = 0;
        } catch (error) {
          if (isFinal(error)) throw error;
          failure = error;
        }
        const readTo = archiver.nextOffset ?? 0;
        if (readTo > part.readTo || isComplete(part)) {
          part.readTo = Math.max(part.readTo, readTo);
          movedMs = performance.now();
          onProgress(this.passed);
        } else if (performance.now() - movedMs > patienceMs) {
          throw failure ?? this.#standsStill(part);
        }
        if (failure !== null) {
          onTrouble(failure);
          const backoffMs = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures++, 10));
          await delay(backoffMs, undefined, { signal }).catch(() => {});
        } else if (archiver.nextOffset === before) {
          await delay(NOTHING_MS);
        }
      }
      // What cannot be committed now is read again by whoever goes on.
      if (signal.aborted && failures === 0) await archiver.commit().catch(() => {});
      await this.#look(part);
    } catch (error) {
      throw isOfAnotherLog(error) ? this.#replaced(part, error) : error;
    } finally {
      leave();
      archiver.close();
    }
  }

  #archiver(part: Part, { log, decoder }: Run): PartitionArchiver {
    return new PartitionArchiver({
      archive: this.#archive,
      source: this.source,
      partition: part.partition,
      log: new BoundedLog(
        log,
        this.#parts.map(({ endOffset }) => endOffset),
      ),
      decoder,
      wallClock: this.#wallClock,
      observer: {
        positioned: (nextOffset) => {
          part.nextOffset = nextOffset;
        },
        committed: () => {},
        gap: () => {},
        failed: () => {},
        recovered: () => {},
      },
    });
  }

  /** What the commits say; publishes the last one. */
  async #look(part: Part): Promise<void> {
    const commits = new PartitionCommits({
      files: this.#archive.files,
      root: this.#archive.directory,
      source: this.source.name,
      partition: part.partition,
      kept: this.#archive.limits.commits,
    });
    const last = await commits.last();
    part.nextOffset = last?.toOffset ?? 0;
    part.readTo = Math.max(part.startOffset, part.nextOffset);
    part.refused = last?.refused ?? {};
    part.gone = (last?.gaps ?? []).reduce((sum, gap) => sum + gap.toOffset - gap.fromOffset, 0);
  }

  #standsStill({ partition, readTo, endOffset }: Part): SnapshotError {
    return new SnapshotError(
      `the log of source ${this.source.name}, partition ${partition}, could not be read beyond offset ${readTo}; it ended at ${endOffset}`,
    );
  }

  #replaced({ partition }: Part, cause: unknown): SnapshotError {
    return new SnapshotError(
      `the log of source ${this.source.name}, partition ${partition}, is not the one any more that the snapshot in ` +
        `${this.#archive.directory} was begun of: remove that, and begin anew`,
      { cause },
    );
  }
}

const isComplete = ({ nextOffset, endOffset }: Part): boolean => nextOffset >= endOffset;

/** Also one that has fewer partitions. */
const isOfAnotherLog = (error: unknown): boolean =>
  error instanceof PartitionStoppedError || error instanceof InvalidRecordError;

/** What does not pass by itself within moments. */
function isFinal(error: unknown): boolean {
  if (isOfAnotherLog(error) || error instanceof MissingSchemaError) return true;
  if (error instanceof LogClosedError) return true;
  const { code } = error as NodeJS.ErrnoException;
  if (['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR'].includes(String(code))) return true;
  return /No space left on device|Disk quota exceeded/i.test(String(error));
}
