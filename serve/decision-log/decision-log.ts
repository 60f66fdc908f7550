/**
 * A log of what was answered, for those who compute it again from history or join it with labels: see README.md of `serve`.
 *
 * It never holds up an answer. What is handed over waits in a buffer, whose bytes are bounded, and is encoded and written
 * some records at a time, between which other work has its turn; what finds no room, or what the disk refuses, is dropped
 * and counted.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import type { Clock } from '../../engine/clock.ts';
import { hash53 } from '../../engine/hash64.ts';
import { LogRate } from '../log-rate.ts';
import type { Metrics, Tally } from '../metrics.ts';
import { DecisionFiles } from './decision-files.ts';
import {
  type DecidedRow,
  type Decision,
  decisionLine,
  decisionWeight,
  type RecordTerms,
} from './decision-record.ts';
import { KeyHash } from './key-hash.ts';

/** Of records that wait to be written, roughly. */
export const DECISION_BUFFER_BYTES_MAX = 8 * 2 ** 20;
export const DECISION_FILE_BYTES_MAX = 64 * 2 ** 20;
/** What a process that is killed has not given to the kernel is of at most so long, where the disk keeps up. */
const WRITE_EVERY_MS = 100;
/** Records encoded before others get a turn on the thread: some 0.5 ms. */
const SLICE_RECORDS = 32;
/** Of lines that are appended together: each append costs some 100 µs. */
const APPEND_BYTES = 256 * 2 ** 10;

export interface DecisionLogSettings {
  readonly directory: string;
  /** Share of the requests that are logged, 0 < sample ≤ 1. */
  readonly sample: number;
  /** Of the hash of entity keys; null: keys are logged as they are. */
  readonly secret: string | null;
  /** @default DECISION_BUFFER_BYTES_MAX */
  readonly bufferBytesMax?: number;
  /** @default DECISION_FILE_BYTES_MAX */
  readonly fileBytesMax?: number;
  /** What waits is written so often, ms. @default 100 */
  readonly writeEveryMs?: number;
}

export interface DecisionLogDependencies {
  readonly metrics: Metrics;
  /** Processing time. */
  readonly wallClock: Clock;
  readonly logger: FastifyBaseLogger | undefined;
}

/** The directory of the decision log cannot be used. */
export class DecisionLogError extends Error {
  override readonly name = 'DecisionLogError';
}

/** What happened to a record. */
const RESULTS = ['written', 'buffer_full', 'disk_refused', 'not_encodable'] as const;
type Result = (typeof RESULTS)[number];

interface Waiting {
  readonly decision: Decision;
  readonly weight: number;
}

export class DecisionLog {
  readonly #settings: DecisionLogSettings;
  readonly #dependencies: DecisionLogDependencies;
  readonly #files: DecisionFiles;
  readonly #terms: RecordTerms;
  readonly #bufferBytesMax: number;
  readonly #tallies: Readonly<Record<Result, Tally>>;
  readonly #lines: LogRate;
  readonly #timer: NodeJS.Timeout;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #records = 0;
  #writing: Promise<void> = Promise.resolve();
  #isWriting = false;
  #problem: string | null = null;
  #closed = false;

  private constructor(
    settings: DecisionLogSettings,
    dependencies: DecisionLogDependencies,
    files: DecisionFiles,
    lines: LogRate,
  ) {
    const { metrics } = dependencies;
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#files = files;
    this.#lines = lines;
    const { sample, secret } = settings;
    const hash = secret === null ? null : new KeyHash(secret);
    this.#terms = { instance: files.instance, sample, hash };
    this.#bufferBytesMax = settings.bufferBytesMax ?? DECISION_BUFFER_BYTES_MAX;
    const tally = (result: Result) => metrics.tally('millrace_decision_log_records_total', { result });
    this.#tallies = Object.fromEntries(RESULTS.map((result) => [result, tally(result)])) as Record<
      Result,
      Tally
    >;
    metrics.onCollect(() => metrics.set('millrace_decision_log_buffer_bytes', {}, this.#waitingBytes));
    this.#timer = setInterval(() => {
      if (!this.#isWriting && (this.#waiting.length > 0 || files.isOver)) void this.flush();
    }, settings.writeEveryMs ?? WRITE_EVERY_MS).unref();
  }

  /** @throws DecisionLogError where files cannot be made in the directory */
  static async open(
    settings: DecisionLogSettings,
    dependencies: DecisionLogDependencies,
  ): Promise<DecisionLog> {
    const { directory, fileBytesMax = DECISION_FILE_BYTES_MAX } = settings;
    const { wallClock: clock, logger } = dependencies;
    const lines = new LogRate();
    const onProblem = (error: unknown): void => {
      const omitted = lines.admit('file');
      if (omitted === null) return;
      logger?.warn(
        { reason: codeOf(error), omitted },
        'a file of the decision log stays open; it is recovered later',
      );
    };
    try {
      const files = await DecisionFiles.open({ directory, fileBytesMax, clock, onProblem });
      return new DecisionLog(settings, dependencies, files, lines);
    } catch (error) {
      const message = `the directory ${directory} of the decision log cannot be used: ${(error as Error).message}`;
      throw new DecisionLogError(message, { cause: error });
    }
  }

  /** Why not all is logged that should be. */
  get warnings(): readonly string[] {
    return this.#problem === null ? [] : [this.#problem];
  }

  /** Takes the answers that a request has got. Never throws, and waits for nothing. */
  add(requestId: string, reader: Decision['reader'], rows: readonly DecidedRow[]): void {
    if (this.#closed || !this.#takes(requestId)) return;
    const answeredMs = this.#dependencies.wallClock.nowMs();
    for (const row of rows) {
      const decision = { requestId, answeredMs, reader, row };
      const weight = decisionWeight(row);
      if (this.#waitingBytes + weight > this.#bufferBytesMax) {
        this.#dropped('buffer_full', 1, 'its buffer is full');
        continue;
      }
      this.#waiting.push({ decision, weight });
      this.#waitingBytes += weight;
    }
  }

  /** Resolves when what was added so far has been written, or dropped. Never rejects. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** Takes no more, writes what waits, closes the file. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.flush();
    await this.#files.close();
  }

  /** The same for a request wherever and however often it is asked. */
  #takes(requestId: string): boolean {
    const { sample } = this.#settings;
    return sample === 1 || hash53(requestId) < sample * 2 ** 53;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      await this.#files.closeIfOver();
      while (this.#waiting.length > 0) {
        const waiting = this.#waiting;
        this.#waiting = [];
        for (let at = 0; at < waiting.length; ) at = await this.#append(waiting, at);
      }
    } finally {
      this.#isWriting = false;
    }
  }

  /** @returns the place of the first record that is left */
  async #append(waiting: readonly Waiting[], from: number): Promise<number> {
    const lines: Buffer[] = [];
    let at = from;
    let bytes = 0;
    let weights = 0;
    while (at < waiting.length && bytes < APPEND_BYTES) {
      if (at > from && (at - from) % SLICE_RECORDS === 0) await immediate();
      const { decision, weight } = waiting[at++]!;
      weights += weight;
      try {
        // At once: a text of all lines would be put together only when they have left the cache.
        const line = Buffer.from(decisionLine(decision, ++this.#records, this.#terms));
        bytes += line.length;
        lines.push(line);
      } catch (error) {
        this.#dropped('not_encodable', 1, error instanceof Error ? error.name : 'not an Error');
      }
    }
    try {
      if (lines.length > 0) await this.#files.append(Buffer.concat(lines));
      this.#tallies.written.add(lines.length);
      if (this.#waiting.length === 0) this.#problem = null;
    } catch (error) {
      this.#dropped('disk_refused', lines.length, codeOf(error));
    } finally {
      this.#waitingBytes -= weights;
    }
    return at;
  }

  #dropped(result: Exclude<Result, 'written'>, records: number, reason: string): void {
    this.#tallies[result].add(records);
    this.#problem = `answers are missing in the decision log: ${reason}`;
    const omitted = this.#lines.admit(result);
    if (omitted !== null)
      this.#dependencies.logger?.warn({ result, reason, omitted }, 'answers were not logged');
  }
}

/** Messages of the file system name paths, of which codes are enough. */
function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException)?.code ?? (error instanceof Error ? error.name : 'not an Error');
}
