/**
 * Dead letters kept in an event log of their own, as JSON with the record's bytes in base64. Among them, also as JSON, what
 * was replayed or discarded: `{"replayed": {"partition", "offset", "upTo"}}` ends the letters of that record up to the one at
 * `upTo`, and so does `{"discarded": …}`.
 */
import type { Clock } from '../engine/clock.ts';
import type { DeadLetter, DeadLetters } from './dead-letter.ts';
import { LETTER_ENDS, type LetterEnd, type LetterMark, type ShelfEntry } from './letter-shelf.ts';
import type { EventLog, LogRecord } from './log/event-log.ts';

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
      letters.map((letter) => ({
        ...{ partition: 0, appendedMs, stamp: null, eventTimeMs: 0 },
        value: encodeLetter(letter),
      })),
    );
  }
}

/** As it is in the log. */
type LetterJson = Pick<
  DeadLetter,
  'reason' | 'message' | 'thrown' | 'source' | 'partition' | 'offset' | 'view' | 'appendedMs' | 'stamp'
> & {
  /** In base64. */
  readonly value: string | null;
};

function encodeLetter(letter: DeadLetter): Uint8Array {
  const { reason, message, thrown, source, partition, offset, view, appendedMs, stamp, value } = letter;
  const json: LetterJson = {
    ...{ reason, message, source, partition, offset, view, appendedMs, stamp },
    ...(thrown === undefined ? {} : { thrown }),
    value:
      value === null
        ? null
        : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'),
  };
  return Buffer.from(JSON.stringify(json));
}

export function encodeMark(end: LetterEnd, { partition, offset, upTo }: LetterMark): Uint8Array {
  return Buffer.from(JSON.stringify({ [end]: { partition, offset, upTo } }));
}

/** Of letters that a build before these wrote, append time and stamp are not known. */
export function decodeLetter(record: LogRecord): ShelfEntry {
  const json = JSON.parse(Buffer.from(record.value!).toString()) as LetterJson & {
    readonly [end in LetterEnd]?: LetterMark;
  };
  for (const kind of LETTER_ENDS) {
    const mark = json[kind];
    if (mark !== undefined) return { kind, ...mark };
  }
  const letter = {
    ...json,
    appendedMs: json.appendedMs ?? 0,
    stamp: json.stamp ?? null,
    value: json.value === null ? null : Buffer.from(json.value, 'base64'),
    ...{ key: null, headers: [], omitted: [] },
    writtenMs: record.appendedMs,
    place: record.offset,
  };
  return { kind: 'letter', letter };
}
