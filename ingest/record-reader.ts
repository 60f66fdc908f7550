/** Which records of a log are accepted events of its source: one answer for all who read the log. */
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { type DecodedEvent, decodeEvent } from '../engine/definitions/decode-event.ts';
import type { DeadLetterReason } from './dead-letter.ts';
import { MissingSchemaError } from './decoding/missing-schema-error.ts';
import type { RecordDecoder } from './decoding/record-decoder.ts';
import type { LogRecord } from './log/event-log.ts';

/** Why a record is no event of its source. */
export interface RefusedRecord {
  readonly ok: false;
  readonly reason: DeadLetterReason;
  /** Without values of the event. */
  readonly message: string;
}

export class RecordReader {
  readonly #source: CompiledSource;
  readonly #decoder: RecordDecoder;
  readonly #decode: ReturnType<typeof decodeEvent>;

  constructor(source: CompiledSource, decoder: RecordDecoder) {
    this.#source = source;
    this.#decoder = decoder;
    // Keys are bounded at the door and per view: a view added later must not make accepted events undecodable.
    this.#decode = decodeEvent(source);
  }

  /**
   * Fetches what it takes to read the records. They must be read before the next call.
   * @returns how many of them, from the first, can be read now: those behind wait for what cannot be had for now
   * @throws what the decoder fails with for now, where it fails with the first record
   */
  async prepare(records: readonly LogRecord[]): Promise<number> {
    const values = records.map(({ value }) => value);
    try {
      await this.#decoder.prepare(values);
    } catch (error) {
      // What lies before a record that has to wait need not wait with it.
      const readable = this.#decoder.decodable(values);
      if (readable === 0) throw error instanceof MissingSchemaError ? error.locatedIn(records) : error;
      return readable;
    }
    return records.length;
  }

  /** Never throws for what a prepared record holds. */
  read(record: LogRecord): DecodedEvent | RefusedRecord {
    const decoded = this.#decoder.decode(record.value);
    if (!decoded.ok) return decoded;
    const event = this.#decode(decoded.data);
    if (!event.ok) return { ok: false, reason: 'breaks_schema', message: event.message };
    // 0: the record does not say when it was appended.
    if (
      record.appendedMs > 0 &&
      event.eventTimeMs > record.appendedMs + this.#source.definition.maxFutureMs
    ) {
      const message = 'the event time is too far ahead of the time of its append';
      return { ok: false, reason: 'too_far_in_future', message };
    }
    return event;
  }
}
