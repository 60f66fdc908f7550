/** Dead letters that are also told to the log: whose fault it is shows in the first lines, not in the thousandth. */
import type { FastifyBaseLogger } from 'fastify';
import type { DeadLetter, DeadLetters } from '../ingest/dead-letter.ts';

/** Between two lines of one source and reason. */
const QUIET_MS = 10_000;

/** Since the last line. */
interface Untold {
  letters: number;
  latest: DeadLetter;
}

/**
 * One line at the first letter of a reason, then one every 10 s for as long as there are more, with their number. A line has
 * what is wrong and where the record is, never its value, key or headers.
 */
export class LoggedDeadLetters implements DeadLetters {
  readonly #letters: DeadLetters;
  readonly #logger: Pick<FastifyBaseLogger, 'warn'>;
  /** Reason → what the next line is about; null: nothing yet. */
  readonly #untold = new Map<DeadLetter['reason'], Untold | null>();

  /** @param letters of one source */
  constructor(letters: DeadLetters, logger: Pick<FastifyBaseLogger, 'warn'>) {
    this.#letters = letters;
    this.#logger = logger;
  }

  async write(letters: readonly DeadLetter[]): Promise<void> {
    await this.#letters.write(letters);
    const isQuiet = new Set(this.#untold.keys());
    for (const latest of letters) {
      const { letters: count } = this.#untold.get(latest.reason) ?? { letters: 0 };
      this.#untold.set(latest.reason, { letters: count + 1, latest });
    }
    for (const reason of this.#untold.keys()) if (!isQuiet.has(reason)) this.#tell(reason);
  }

  #tell(reason: DeadLetter['reason']): void {
    const untold = this.#untold.get(reason);
    if (untold === undefined || untold === null) {
      this.#untold.delete(reason);
      return;
    }
    const { source, view, partition, offset, message } = untold.latest;
    this.#logger.warn(
      {
        source,
        reason,
        letters: untold.letters,
        ...(view === null ? {} : { view }),
        partition,
        offset,
        message,
      },
      'records that cannot be used went to the dead letters; the latest is at this partition and offset',
    );
    this.#untold.set(reason, null);
    setTimeout(() => this.#tell(reason), QUIET_MS).unref();
  }
}
