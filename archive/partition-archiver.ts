/**
 * Archives one partition of a source's log: reads it at a pace of its own, gathers accepted rows, and commits them as
 * files. All it knows lies in the archive's directory: it begins at the end of the last commit there, and goes on from there
 * whenever another owner has committed meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { type LogGap, withGap } from '../engine/store/log-gap.ts';
import { knownAppendTime } from '../ingest/append-time.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import { type LastRecord, lastRecordOf, UNKNOWN_RECORD } from '../ingest/last-record.ts';
import type { LogEnds, LogReader, LogRecord } from '../ingest/log/event-log.ts';
import { OffsetOutOfRangeError } from '../ingest/log/log-errors.ts';
import { PartitionStoppedError } from '../ingest/partition-stopped.ts';
import { RecordReader } from '../ingest/record-reader.ts';
import { recordFrom } from '../ingest/single-record.ts';
import type { Archive } from './archive.ts';
import { type ArchiveColumn, archiveColumns, columnsFingerprint } from './archive-columns.ts';
import { dataFileName } from './archive-layout.ts';
import type { CommitRecord, CommittedFile, RefusedRecords } from './commit-record.ts';
import { PartitionCommits } from './partition-commits.ts';
import { checkArchivedLog } from './replaced-archive-log.ts';
import { type ArchiveRow, RowTable } from './row-table.ts';

/** All calls are synchronous and must not throw. */
export interface ArchiveObserver {
  /** The archive stands here: everything below `nextOffset` is committed, or was gone. */
  positioned(nextOffset: number): void;
  /** A commit of ours. */
  committed(commit: Pick<CommitRecord, 'files' | 'fromOffset' | 'toOffset'>): void;
  /**
   * Records were gone before they were archived. Said before the commit that passes them.
   * @param isFirst the archive begins behind them: nobody had asked for them
   */
  gap(gap: LogGap, isFirst: boolean): void;
  /** A step failed; it is tried again unless `final`. */
  failed(error: unknown, final: boolean): void;
  /** A step went well after a failure. */
  recovered(): void;
}

export interface PartitionArchiverOptions {
  readonly archive: Archive;
  readonly source: CompiledSource;
  readonly partition: number;
  readonly log: LogReader;
  readonly decoder: RecordDecoder;
  readonly observer: ArchiveObserver;
  /** Processing time. */
  readonly wallClock: Clock;
  /** Pause at the end of the log, ms. @default 1000 */
  readonly pauseMs?: number;
}

/** Read, decoded and handed over at once, some milliseconds of the thread: records, and fewer where they have many columns. */
const CHUNK_RECORDS = 500;
const CHUNK_VALUES = 5_000;
const CHUNK_BYTES = 1024 * 1024;
/** What a value takes in memory beside its text. */
const CELL_BYTES = 16;
const PAUSE_MS = 1_000;
const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5_000;

/** Where a partition's archive stands. */
interface Position {
  /** Where the next commit begins. */
  fromOffset: number;
  /** Everything below it is among the rows that wait, or was not accepted. */
  nextOffset: number;
  /** The last record below `nextOffset`, as far as it is known. */
  last: LastRecord;
  gaps: readonly LogGap[];
  refused: RefusedRecords;
  readonly logIdentity: string;
}

export class PartitionArchiver {
  readonly #options: PartitionArchiverOptions;
  readonly #columns: readonly ArchiveColumn[];
  readonly #chunkRecords: number;
  readonly #reader: RecordReader;
  readonly #commits: PartitionCommits;
  #rows: RowTable | null = null;
  /** null: to be found. */
  #at: Position | null = null;
  /** By the size of their records. */
  #waitingBytes = 0;
  #waitingRows = 0;
  /** When the first record behind `fromOffset` was taken, ms; null: none was. */
  #sinceMs: number | null = null;
  /** Sealed, and perhaps committed. */
  #sealed: CommitRecord | null = null;
  #failures = 0;

  /** @throws {ArchiveColumnsError} */
  constructor(options: PartitionArchiverOptions) {
    const { archive, source, partition, decoder } = options;
    this.#options = options;
    this.#columns = archiveColumns(source.definition);
    this.#chunkRecords = Math.min(CHUNK_RECORDS, Math.ceil(CHUNK_VALUES / this.#columns.length));
    this.#reader = new RecordReader(source, decoder);
    this.#commits = new PartitionCommits({
      files: archive.files,
      root: archive.directory,
      source: source.name,
      partition,
      kept: archive.limits.commits,
    });
  }

  /** Where it reads on; null: it has not found out yet. */
  get nextOffset(): number | null {
    return this.#at?.nextOffset ?? null;
  }

  /** Archives until the signal aborts, then commits what waits, once. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const leave = this.#options.archive.enter();
    try {
      while (!signal.aborted && (await this.#turn(signal)));
      // What cannot be committed now is read again, by whoever comes next.
      if (this.#failures === 0) await this.commit().catch(() => {});
    } finally {
      leave();
      this.close();
    }
  }

  /** @returns false where there is no going on */
  async #turn(signal: AbortSignal): Promise<boolean> {
    const { observer, pauseMs = PAUSE_MS } = this.#options;
    try {
      const startedMs = performance.now();
      const atRest = await this.step();
      if (this.#failures > 0) observer.recovered();
      this.#failures = 0;
      // Behind, it takes half of the thread's time at most: it is in no hurry, and others are.
      await delay(atRest ? pauseMs : performance.now() - startedMs, undefined, { signal });
    } catch (error) {
      // On the way out nothing is tried again: the partition may be another's by now.
      if (signal.aborted) return false;
      const final = error instanceof PartitionStoppedError;
      this.#failures++;
      observer.failed(error, final);
      if (final) return false;
      const backoffMs = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures - 1, 10));
      await delay(backoffMs, undefined, { signal }).catch(() => {});
    }
    return true;
  }

  /**
   * Commits where it is time to, then reads a chunk. Returns true where there was little to be read.
   * What waits stays when it throws, and is committed by a later step.
   * @throws {PartitionStoppedError} where another step cannot succeed; whatever log, decoder, disk and DuckDB throw
   */
  async step(): Promise<boolean> {
    const { archive } = this.#options;
    this.#rows ??= await this.#openRows();
    if (this.#isDue()) await this.commit();
    this.#at ??= await this.#begin();
    const at = this.#at;
    const maxBytes = Math.max(1, Math.min(CHUNK_BYTES, archive.share - this.#waitingBytes));
    const { records, nextOffset } = await this.#read(at.nextOffset, maxBytes);
    const taken = await this.#take(at, records);
    at.nextOffset = taken < records.length ? records[taken]!.offset : nextOffset;
    if (at.nextOffset > at.fromOffset) this.#sinceMs ??= this.#options.wallClock.nowMs();
    // A small part of a chunk is a trickle: what comes next can wait for what comes behind it.
    const bytes = records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    return 4 * records.length < this.#chunkRecords && 4 * bytes < maxBytes;
  }

  /** Commits what waits, if anything does. @throws as `step` */
  async commit(): Promise<void> {
    // Where another owner has committed a part of it, what is behind that is still to be committed.
    while (this.#at !== null && this.#at.nextOffset > this.#at.fromOffset) await this.#commit(this.#at);
  }

  async #commit(at: Position): Promise<void> {
    try {
      this.#sealed ??= await this.#seal(at);
    } catch (error) {
      // Another owner may have gone on, and removed what is of no use any more.
      if (await this.#hasMoved(at).catch(() => false)) return this.#follow(at);
      throw error;
    }
    if (!(await this.#commits.commit(this.#sealed))) return this.#follow(at);
    const { toOffset } = this.#sealed;
    this.#options.observer.committed(this.#sealed);
    this.#sealed = null;
    at.fromOffset = toOffset;
    await this.#passed(at);
  }

  /** Whatever waits is gone: it is in the log. */
  close(): void {
    this.#rows?.close();
    this.#rows = null;
    this.#at = null;
    this.#sealed = null;
    this.#forget();
  }

  #isDue(): boolean {
    const { archive, wallClock } = this.#options;
    if (this.#sealed !== null) return true;
    if (this.#waitingRows >= archive.limits.rows || this.#waitingBytes >= archive.share) return true;
    return this.#sinceMs !== null && wallClock.nowMs() - this.#sinceMs >= archive.everyMs;
  }

  #openRows(): Promise<RowTable> {
    const { archive, partition } = this.#options;
    return RowTable.open({ writer: archive.writer, partition, columns: this.#columns });
  }

  /** Nothing waits. */
  async #begin(): Promise<Position> {
    const { archive, log, partition, observer } = this.#options;
    this.#forget();
    await this.#rows!.clear();
    await archive.makeDirectory();
    for (;;) {
      const commit = await this.#lastCommit();
      const { startOffset, endOffset } = await log.ends(partition);
      const fromOffset = commit?.toOffset ?? 0;
      if (fromOffset < startOffset) {
        await this.#passGap(commit, { fromOffset, startOffset, endOffset });
        continue;
      }
      observer.positioned(fromOffset);
      const logIdentity = commit?.logIdentity ?? (await log.identity(partition));
      const { last = UNKNOWN_RECORD, gaps = [], refused = {} } = commit ?? {};
      return { fromOffset, nextOffset: fromOffset, last, gaps, refused, logIdentity };
    }
  }

  async #lastCommit(): Promise<CommitRecord | null> {
    const commit = await this.#commits.last();
    if (commit !== null) await checkArchivedLog(this.#options.log, commit);
    return commit;
  }

  /** A commit without files, of what the log does not hold any more. Others may find the same, and one of them commits it. */
  async #passGap(
    commit: CommitRecord | null,
    { fromOffset, startOffset, endOffset }: LogEnds & { readonly fromOffset: number },
  ): Promise<void> {
    const { log, partition, observer, source, wallClock } = this.#options;
    const first = startOffset < endOffset ? await recordFrom(log, partition, startOffset) : null;
    const gap: LogGap = {
      fromOffset,
      toOffset: startOffset,
      afterMs: knownAppendTime(commit?.last.appendedMs ?? -1),
      untilMs: knownAppendTime(first?.appendedMs ?? -1) ?? wallClock.nowMs(),
    };
    observer.gap(gap, commit === null);
    const passing: CommitRecord = {
      ...(await this.#commits.begin(fromOffset)),
      source: source.name,
      partition,
      toOffset: startOffset,
      logIdentity: commit?.logIdentity ?? (await log.identity(partition)),
      // The record before the start is not known.
      last: UNKNOWN_RECORD,
      files: [],
      gaps: withGap(commit?.gaps ?? [], gap),
      refused: commit?.refused ?? {},
    };
    await this.#commits.seal(passing);
    await this.#commits.commit(passing);
  }

  async #read(fromOffset: number, maxBytes: number): ReturnType<LogReader['read']> {
    const { log, partition } = this.#options;
    try {
      return await log.read({ partition, fromOffset, maxRecords: this.#chunkRecords, maxBytes });
    } catch (error) {
      if (error instanceof OffsetOutOfRangeError) {
        // What waits may be all there is of it any more.
        await this.commit();
        this.#at = null;
      }
      throw error;
    }
  }

  /** @returns how many records, from the first, are among the rows that wait, or were refused */
  async #take(at: Position, records: readonly LogRecord[]): Promise<number> {
    if (records.length === 0) return 0;
    const taken = await this.#reader.prepare(records);
    const rows: ArchiveRow[] = [];
    let bytes = 0;
    for (const record of taken === records.length ? records : records.slice(0, taken)) {
      const event = this.#reader.read(record);
      if (!event.ok) {
        at.refused = { ...at.refused, [event.reason]: (at.refused[event.reason] ?? 0) + 1 };
        continue;
      }
      const { offset, appendedMs, stamp, originOffset } = record;
      rows.push({
        offset,
        appendedMs,
        stamp,
        originOffset,
        eventTimeMs: event.eventTimeMs,
        event: event.row,
      });
      bytes += (record.value?.length ?? 0) + CELL_BYTES * this.#columns.length;
    }
    try {
      this.#rows!.add(rows);
    } catch (error) {
      // What the table holds is not known.
      this.close();
      throw error;
    }
    this.#waitingRows += rows.length;
    this.#waitingBytes += bytes;
    at.last = lastRecordOf(records[taken - 1]!);
    return taken;
  }

  /** Writes all that waits to files of an attempt, and down what they are. */
  async #seal(at: Position): Promise<CommitRecord> {
    const { archive, source, partition } = this.#options;
    const { fromOffset, nextOffset: toOffset, last, gaps, refused, logIdentity } = at;
    const attempt = await this.#commits.begin(fromOffset);
    try {
      const files: CommittedFile[] = [];
      for (const day of await this.#rows!.days(fromOffset)) {
        const path = this.#commits.stagedPath(attempt, day.day);
        const metadata = {
          millrace_source: source.name,
          millrace_columns: columnsFingerprint(this.#columns),
          millrace_log: logIdentity,
          millrace_version: archive.version,
        };
        await this.#rows!.write({ day, fromOffset, path, metadata });
        files.push({
          day: day.day,
          name: dataFileName(partition, day.firstOffset, day.lastOffset),
          rows: day.rows,
          bytes: await archive.files.flush(path),
        });
      }
      const place = { source: source.name, partition, toOffset, logIdentity };
      const record = { ...attempt, ...place, last, files, gaps, refused };
      await this.#commits.seal(record);
      return record;
    } catch (error) {
      // A disk may be full of it.
      await this.#commits.abandon(attempt).catch(() => {});
      throw error;
    }
  }

  async #hasMoved({ fromOffset }: Position): Promise<boolean> {
    return ((await this.#commits.last())?.toOffset ?? 0) !== fromOffset;
  }

  /** Goes on where the last commit ends, with the rows that are behind it. */
  async #follow(at: Position): Promise<void> {
    this.#sealed = null;
    const commit = await this.#lastCommit();
    if (commit === null || commit.toOffset === at.fromOffset) {
      throw new Error('what was staged is not there any more');
    }
    at.fromOffset = commit.toOffset;
    at.gaps = commit.gaps;
    // Which of its own were before the other's end is not known.
    at.refused = commit.refused;
    await this.#passed(at);
  }

  /** Rows before `fromOffset` wait no longer. */
  async #passed(at: Position): Promise<void> {
    this.#options.observer.positioned(at.fromOffset);
    if (at.nextOffset > at.fromOffset) return;
    if (at.nextOffset < at.fromOffset) this.#at = null;
    this.#forget();
    await this.#rows!.clear();
  }

  #forget(): void {
    this.#waitingRows = 0;
    this.#waitingBytes = 0;
    this.#sinceMs = null;
  }
}
