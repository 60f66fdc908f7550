/** `--history kafka` and `--history log`: logs as the settings have them, how far they are read, and what they fail with. */
import { type HistoryLog, LogHistoryError, type LogHistoryProgress } from '../../archive/log-history.ts';
import { SnapshotError } from '../../archive/snapshot-ends.ts';
import { kafkaHistory } from '../../distributed/kafka-history.ts';
import { embeddedHistory } from '../../embedded/embedded-history.ts';
import { MissingSchemaError } from '../../ingest/decoding/missing-schema-error.ts';
import { reasonOf } from '../../roles/reason-of.ts';
import { CliError } from '../cli-error.ts';
import { kafkaSettings } from '../kafka-settings.ts';
import { registryOptions } from '../registry-options.ts';
import {
  formatCount,
  formatDurationShort,
  type ProgressDisplay,
  progressDisplay,
} from '../replay/progress-display.ts';
import type { Config } from '../settings.ts';

/** What `--history` may say in place of a path. A folder of such a name is `./kafka`. */
const LOGS = ['kafka', 'log'] as const;

/** Logs of one command. Each is opened once, whatever number of sources it is named for. */
export class HistoryLogs {
  readonly #config: Config;
  readonly #stream: NodeJS.WriteStream;
  readonly #stop: AbortSignal;
  readonly #opened = new Map<string, HistoryLog>();
  #reading: LogReading | null = null;

  /** @param stop ends the reading of a log, which keeps what it has */
  constructor(config: Config, stream: NodeJS.WriteStream, stop: AbortSignal) {
    this.#config = config;
    this.#stream = stream;
    this.#stop = stop;
  }

  get isReading(): boolean {
    return this.#reading !== null;
  }

  /** @throws CliError where settings are missing */
  historyOf(path: string): string | HistoryLog {
    if (!LOGS.some((name) => name === path)) return path;
    const known = this.#opened.get(path);
    if (known !== undefined) return known;
    const log = this.#watched(this.#open(path as (typeof LOGS)[number]));
    this.#opened.set(path, log);
    return log;
  }

  #open(name: (typeof LOGS)[number]): HistoryLog {
    const options = {
      signal: this.#stop,
      onProgress: (progress: LogHistoryProgress) => this.#reading?.update(progress),
      onTrouble: (error: unknown) => this.#reading?.trouble(error),
    };
    if (name === 'log') return embeddedHistory({ ...options, dataDir: this.#config.dataDir });
    const { group, onLostSchema } = this.#config;
    const kafka = kafkaSettings(this.#config);
    return kafkaHistory({
      ...options,
      ...{ kafka, group, onLostSchema, registry: registryOptions(this.#config) },
    });
  }

  #watched(log: HistoryLog): HistoryLog {
    return {
      identity: log.identity,
      writeTo: async (directory, sources) => {
        const reading = new LogReading(this.#stream);
        this.#reading = reading;
        try {
          return await log.writeTo(directory, sources);
        } finally {
          this.#reading = null;
          reading.end();
        }
      },
    };
  }
}

/** What a log could not be read for, as its owner can mend it; null: something else. */
export async function explainLog(error: unknown): Promise<CliError | null> {
  if (
    error instanceof LogHistoryError ||
    error instanceof SnapshotError ||
    error instanceof MissingSchemaError
  ) {
    return new CliError(error.message, { cause: error });
  }
  // Loaded here: it knows all servers.
  const { explain } = await import('../run-roles.ts');
  return explain(error);
}

class LogReading {
  readonly #stream: NodeJS.WriteStream;
  readonly #startedMs = performance.now();
  #display: ProgressDisplay | null = null;
  /** Of another run. */
  #before: number | null = null;
  #saidMs = Number.NEGATIVE_INFINITY;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  update({ source, records, total }: LogHistoryProgress): void {
    this.#display ??= progressDisplay(this.#stream, 'records');
    this.#before ??= records;
    const elapsedMs = performance.now() - this.#startedMs;
    const own = records - this.#before;
    const left = own === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * (total - records)) / own;
    this.#display.update({
      percent: total === 0 ? 100 : Math.floor((100 * records) / total),
      events: `${formatCount(records)} of ${formatCount(total)}`,
      rate: formatCount((own / elapsedMs) * 1000),
      eta: formatDurationShort(left),
      note: `the log of ${source}`,
      elapsedMs,
    });
  }

  /** At most every few seconds: brokers that are away fail every try. */
  trouble(error: unknown): void {
    const nowMs = performance.now();
    if (nowMs - this.#saidMs < TROUBLE_EVERY_MS) return;
    this.#saidMs = nowMs;
    this.#stream.write(`It is tried again: ${reasonOf(error)}\n`);
  }

  end(): void {
    this.#display?.stop();
  }
}

const TROUBLE_EVERY_MS = 5_000;
