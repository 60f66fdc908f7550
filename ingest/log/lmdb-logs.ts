/**
 * The event logs of one data directory, all sources in one lmdb environment, so that they share each flush.
 *
 * Writers queue jobs. One transaction is in flight at a time; when it is on disk, everything queued meanwhile
 * goes into the next one (group commit). Commits here are flushed before they are visible, so what a reader can
 * see is durable; opening starts with a flushed write, which makes what a killed process left behind durable too.
 */
import { randomBytes } from 'node:crypto';
import { type DirectoryLock, lockDirectory } from '../../engine/store/directory-lock.ts';
import {
  type BytesDatabase,
  causeOf,
  type Environment,
  hasRoomToOpen,
  isOutOfSpace,
  openDatabase,
  openEnvironment,
  valueView,
} from '../../engine/store/lmdb-environment.ts';
import { checkText, MAX_SOURCE_BYTES } from '../../engine/store/state-address.ts';
import { StoreFormatError } from '../../engine/store/store-errors.ts';
import { checkPartitions } from './append-record.ts';
import { LmdbEventLog } from './lmdb-event-log.ts';
import { InvalidRecordError, LogBrokenError, LogClosedError, LogFullError } from './log-errors.ts';

export interface LmdbLogsOptions {
  /**
   * false: never flush. A killed process still loses nothing, but a power failure may destroy the log: for tests
   * and data that may be lost as a whole. @default true
   */
  readonly flush?: boolean;
  /** Limit of the sum of value bytes held per source; an append beyond it fails with `LogFullError`. @default none */
  readonly maxBytes?: number;
  /** Records per segment, the step of truncation. @default 4096 */
  readonly segmentRecords?: number;
  /** Value bytes per segment. @default 4 MiB */
  readonly segmentBytes?: number;
  /** Makes identities. @default 8 random bytes as hex */
  readonly random?: () => string;
}

export interface LmdbLogLimits {
  readonly maxBytes: number;
  readonly segmentRecords: number;
  readonly segmentBytes: number;
}

/** Part of a transaction. */
export interface LogJob {
  /** Asked once per transaction, after all jobs, to write what they changed in memory. */
  readonly owner: { writeChanges(): void };
  /** Bytes of values to be written. */
  readonly bytes: number;
  /** Puts and removes, nothing awaited. Throwing refuses this job only, so it must throw before its first write. */
  write(): void;
  /** The transaction is durable. */
  committed(): void;
  /** The transaction failed as a whole. What `write` changed in memory must be undone. */
  failed(error: Error): void;
}

const FORMAT = '1';
const FORMAT_KEY = new TextEncoder().encode('format');
const OPENED_KEY = new TextEncoder().encode('opened');
/** A transaction takes queued jobs up to this size, so that its dirty pages stay bounded. */
const TRANSACTION_BYTES = 16 * 1024 * 1024;

export class LmdbLogs {
  readonly limits: LmdbLogLimits;
  readonly random: () => string;
  /** partition → its state; see LmdbEventLog. */
  readonly partitions: BytesDatabase;
  readonly segments: BytesDatabase;
  readonly records: BytesDatabase;
  readonly #environment: Environment;
  readonly #lock: DirectoryLock;
  readonly #path: string;
  readonly #logs = new Map<string, Promise<LmdbEventLog>>();
  #queue: LogJob[] = [];
  #draining: Promise<void> | undefined;
  #broken: LogBrokenError | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Opens the directory, which is created if missing. Throws `DirectoryLockedError` where another process has it,
   * `LogFullError` where its disk has no room for what opening writes.
   */
  static async open(path: string, options: LmdbLogsOptions = {}): Promise<LmdbLogs> {
    const lock = await lockDirectory(path);
    let environment: Environment | undefined;
    try {
      if (!(await hasRoomToOpen(path))) throw diskFull();
      environment = await openEnvironment({ path, overlappingSync: false, noSync: options.flush === false });
      return new LmdbLogs({ path, options, environment, lock });
    } catch (error) {
      await environment?.close();
      await lock.release();
      throw (await isOutOfSpace(error, path)) ? diskFull(error) : error;
    }
  }

  private constructor(args: {
    path: string;
    options: LmdbLogsOptions;
    environment: Environment;
    lock: DirectoryLock;
  }) {
    const { options, environment } = args;
    this.limits = {
      maxBytes: options.maxBytes ?? Number.POSITIVE_INFINITY,
      segmentRecords: options.segmentRecords ?? 4096,
      segmentBytes: options.segmentBytes ?? 4 * 1024 * 1024,
    };
    this.random = options.random ?? (() => randomBytes(8).toString('hex'));
    this.#environment = environment;
    this.#lock = args.lock;
    this.#path = args.path;
    this.partitions = openDatabase(environment, 'partitions');
    this.segments = openDatabase(environment, 'segments');
    this.records = openDatabase(environment, 'records');
    const meta = openDatabase(environment, 'meta');
    const format = meta.getBinaryFast(FORMAT_KEY);
    if (format === undefined) {
      meta.putSync(FORMAT_KEY, new TextEncoder().encode(FORMAT));
    } else if (new TextDecoder().decode(valueView(format)) !== FORMAT) {
      throw new StoreFormatError(
        `the event log in ${args.path} was written by another version; expected format ${FORMAT}`,
      );
    }
    meta.putSync(OPENED_KEY, randomBytes(8));
  }

  /**
   * The log of a source, made with its partitions if it is new, grown if it has fewer. Throws
   * `InvalidRecordError` if it has more: events of the others would be lost from sight.
   */
  async log(source: string, partitions: number): Promise<LmdbEventLog> {
    checkText('source', source, MAX_SOURCE_BYTES);
    checkPartitions(partitions);
    this.assertOpen();
    const opened = this.#openLog(source, this.#logs.get(source));
    this.#logs.set(source, opened);
    const log = await opened;
    await log.grow(partitions);
    const held = await log.partitions();
    if (held > partitions) {
      throw new InvalidRecordError(
        `the log of source ${source} has ${held} partitions and cannot shrink to ${partitions}`,
      );
    }
    return log;
  }

  /** The log of a source with the partitions it has; null: there is none, and none is made. */
  async existingLog(source: string): Promise<LmdbEventLog | null> {
    checkText('source', source, MAX_SOURCE_BYTES);
    this.assertOpen();
    const opened = this.#openLog(source, this.#logs.get(source));
    this.#logs.set(source, opened);
    const log = await opened;
    return (await log.partitions()) === 0 ? null : log;
  }

  /** One open object per source: offsets are assigned in it. */
  async #openLog(source: string, former: Promise<LmdbEventLog> | undefined): Promise<LmdbEventLog> {
    const log = await former?.catch(() => undefined);
    if (log?.isOpen) return log;
    await log?.close();
    return LmdbEventLog.load(this, source);
  }

  /** Queues a job; it settles through its callbacks. */
  submit(job: LogJob): void {
    this.assertOpen();
    if (this.#broken !== undefined) throw this.#broken;
    this.#queue.push(job);
    this.#draining ??= this.#drain();
  }

  assertOpen(): void {
    if (this.#closing !== undefined) throw new LogClosedError('the event logs are closed');
  }

  /** Finishes what was queued, closes every log and gives the directory free. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const logs = await Promise.allSettled(this.#logs.values());
    for (const log of logs) if (log.status === 'fulfilled') await log.value.close();
    await this.#draining;
    await this.#environment.close();
    await this.#lock.release();
  }

  async #drain(): Promise<void> {
    // Calls made in the same turn as the first belong to the same transaction.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const jobs = this.#takeJobs();
      const written: LogJob[] = [];
      try {
        await this.#environment.batch(() => {
          for (const job of jobs) {
            try {
              job.write();
              written.push(job);
            } catch (error) {
              job.failed(error as Error);
            }
          }
          for (const owner of new Set(written.map((job) => job.owner))) owner.writeChanges();
        });
        for (const job of written) job.committed();
      } catch (error) {
        const reason = await this.#reasonOf(await causeOf(error));
        for (const job of written) job.failed(reason);
      }
    }
    this.#draining = undefined;
  }

  #takeJobs(): LogJob[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#queue.length) {
      bytes += this.#queue[count]!.bytes;
      if (count > 0 && bytes > TRANSACTION_BYTES) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #reasonOf(cause: unknown): Promise<Error> {
    if (await isOutOfSpace(cause, this.#path)) return diskFull(cause);
    this.#broken = new LogBrokenError(
      'the event log could not be flushed; it takes no more appends until reopened',
      {
        cause,
      },
    );
    const queued = this.#queue;
    this.#queue = [];
    for (const job of queued) job.failed(this.#broken);
    return this.#broken;
  }
}

function diskFull(cause?: unknown): LogFullError {
  return new LogFullError('the disk of the event log is full: free space on it, then try again', { cause });
}
