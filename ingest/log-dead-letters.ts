/** Dead letters kept in an event log of their own, as JSON with the record's bytes in base64. */
import type { Clock } from '../engine/clock.ts';
import type { DeadLetter, DeadLetters } from './dead-letter.ts';
import type { EventLog } from './log/event-log.ts';

/** Name of the log that holds a source's dead letters. No source has a dot in its name. */
export function deadLetterLogName(source: string): string {
  return `${source}.dead_letters`;
}

export class LogDeadLetters implements DeadLetters {
  readonly #log: EventLog;
  readonly #clock: Clock;

  /** @param args.clock processing time */
  constructor(args: { log: EventLog; clock: Clock }) {
    this.#log = args.log;
    this.#clock = args.clock;
  }

  async write(letters: readonly DeadLetter[]): Promise<void> {
    const appendedMs = this.#clock.nowMs();
    await this.#log.append(
      letters.map(({ reason, message, source, partition, offset, view, value }) => ({
        partition: 0,
        appendedMs,
        stamp: null,
        eventTimeMs: 0,
        value: Buffer.from(
          JSON.stringify({
            reason,
            message,
            source,
            partition,
            offset,
            view,
            value:
              value === null
                ? null
                : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'),
          }),
        ),
      })),
    );
  }
}
