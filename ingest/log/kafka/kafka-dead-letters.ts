/**
 * Dead letters of a source in a topic of their own, `<topic>.dead_letters`: the record as it was (key, value,
 * headers), and behind its headers ours, which say why and whence (letter-record.ts).
 *
 * A letter that is too large for the topic, because the record was near the limit already, is written without the
 * message; if that is not enough without the record’s headers, then without its key; and with as much of the value as fits
 * at last. `millrace-omitted` then names what is missing (`message`, `headers`, `key`, `value`); the origin says where the
 * whole record is. Without its headers it still has its `millrace-stamp`, which tells a repeat. A letter may be written
 * twice.
 */
import type { DeadLetter, DeadLetters } from '../../dead-letter.ts';
import type { LetterPart } from '../../letter-shelf.ts';
import {
  GroupedProducer,
  type GroupedProducerOptions,
  type ProducedRecord,
  recordBytes,
} from './grouped-producer.ts';
import { letterHeaders } from './letter-record.ts';

const SUFFIX = '.dead_letters';

/** The topic that holds the dead letters of another. */
export function deadLetterTopic(topic: string): string {
  return topic + SUFFIX;
}

export function isDeadLetterTopic(topic: string): boolean {
  return topic.endsWith(SUFFIX);
}

export interface KafkaDeadLettersOptions extends GroupedProducerOptions {
  /** The topic the records are from; `info` is of the topic of the letters. */
  readonly originTopic: string;
}

export class KafkaDeadLetters implements DeadLetters {
  readonly #info: GroupedProducerOptions['info'];
  readonly #originTopic: string;
  readonly #producer: GroupedProducer;

  constructor(options: KafkaDeadLettersOptions) {
    this.#info = options.info;
    this.#originTopic = options.originTopic;
    this.#producer = new GroupedProducer(options);
  }

  /** Fails early where no broker can be reached or the topic is missing. */
  async connect(): Promise<void> {
    await this.#info.partitions();
    await this.#producer.connect();
  }

  /** Resolves when all in-sync replicas have the letters. See `GroupedProducer.produce` for the errors. */
  async write(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    const partitions = await this.#info.partitions();
    const whole = letters.map((letter) => this.#record(letter, letter.partition % partitions, []));
    const limit = await this.#producer.maxRecordBytes(Math.max(...whole.map(recordBytes)));
    await this.#producer.produce(
      letters.map((letter) => this.#fit(letter, letter.partition % partitions, limit)),
    );
  }

  /** Takes no more letters, waits for those under way, disconnects. */
  close(): Promise<void> {
    return this.#producer.close();
  }

  #record(letter: DeadLetter, partition: number, omitted: readonly LetterPart[]): ProducedRecord {
    return {
      partition,
      timestampMs: letter.appendedMs,
      key: letter.key === null || omitted.includes('key') ? null : asBuffer(letter.key),
      value: letter.value === null ? null : asBuffer(letter.value),
      headers: letterHeaders(letter, this.#originTopic, omitted),
    };
  }

  #fit(letter: DeadLetter, partition: number, limit: number): ProducedRecord {
    const omitted: LetterPart[] = [];
    for (const next of ['message', 'headers', 'key', null] as const) {
      const record = this.#record(letter, partition, omitted);
      if (recordBytes(record) <= limit) return record;
      if (next !== null) omitted.push(next);
    }
    const cut = this.#record(letter, partition, [...omitted, 'value']);
    const room = Math.max(0, limit - recordBytes({ ...cut, value: null }));
    return { ...cut, value: cut.value?.subarray(0, room) ?? null };
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
