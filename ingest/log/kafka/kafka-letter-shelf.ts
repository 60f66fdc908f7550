/**
 * Dead letters in a topic of their own. What was replayed or discarded is marked among them, in the partition where the letters
 * of that record are: see letter-record.ts.
 *
 * Topics are read by lone readers, which nobody else hears of.
 */
import type { Kafka } from 'kafkajs';
import type {
  LetterEnd,
  LetterMark,
  LetterOrigin,
  LetterShelf,
  RecordCopy,
  ShelfEntry,
} from '../../letter-shelf.ts';
import { recordsOf } from '../../log-letter-shelf.ts';
import type { LogRecord, RecordHeaders } from '../event-log.ts';
import { GroupedProducer, type ProducedRecord, recordBytes } from './grouped-producer.ts';
import type { KafkaLogger } from './kafka-client.ts';
import { KafkaUnreachableError } from './kafka-errors.ts';
import type { KafkaLogReader, KafkaLogReaderOptions } from './kafka-log-reader.ts';
import { markHeaders, shelfEntryOf } from './letter-record.ts';
import { LoneReader } from './lone-reader.ts';
import { ORIGIN_HEADER, originHeader } from './record-origin.ts';
import type { KafkaLogInfo } from './topic-offsets.ts';
import { STAMP_HEADER } from './topic-writer.ts';

export interface KafkaLetterShelfOptions {
  /** For requests, and for consumers. */
  readonly kafka: { readonly client: Kafka; readonly consumer: Kafka };
  readonly source: KafkaLogInfo;
  readonly letters: KafkaLogInfo;
  readonly logger: KafkaLogger;
  /** What the names of its consumer groups begin with. */
  readonly group: string;
  readonly timings?: KafkaLogReaderOptions['timings'];
}

const READ_TIMEOUT_MS = 60_000;

export class KafkaLetterShelf implements LetterShelf {
  readonly source: string;
  readonly #options: KafkaLetterShelfOptions;
  readonly #copies: GroupedProducer;
  readonly #marks: GroupedProducer;
  readonly #readers = new Map<KafkaLogInfo, Promise<LoneReader>>();

  constructor(options: KafkaLetterShelfOptions) {
    const { kafka, logger, source, letters } = options;
    this.source = source.source;
    this.#options = options;
    this.#copies = new GroupedProducer({ kafka: kafka.client, info: source, logger });
    this.#marks = new GroupedProducer({ kafka: kafka.client, info: letters, logger });
  }

  async *entries(): AsyncGenerator<ShelfEntry> {
    const reader = await this.#reader(this.#options.letters);
    const partitions = await this.#options.letters.partitions();
    for (let partition = 0; partition < partitions; partition++) {
      for await (const record of recordsOf(reader, partition)) {
        const entry = shelfEntryOf(record, this.#options.source);
        if (entry !== null) yield entry;
      }
    }
  }

  async original({ partition, offset }: LetterOrigin): Promise<LogRecord | null> {
    const { source } = this.#options;
    const { startOffset, endOffset } = await source.ends(partition);
    if (offset < startOffset || offset >= endOffset) return null;
    const reader = await this.#reader(source);
    const deadlineMs = performance.now() + READ_TIMEOUT_MS;
    while (performance.now() < deadlineMs) {
      const args = { partition, fromOffset: offset, maxRecords: 1, maxBytes: 1 };
      const { records, nextOffset } = await reader.read(args);
      if (nextOffset > offset) return records[0]?.offset === offset ? records[0] : null;
    }
    throw new KafkaUnreachableError(
      `the record at ${source.topic}/${partition}/${offset} could not be read from Kafka`,
    );
  }

  async fits(copy: RecordCopy): Promise<boolean> {
    return recordBytes(this.#produced(copy)) <= (await this.#copies.maxRecordBytes());
  }

  async append(copies: readonly RecordCopy[]): Promise<void> {
    await this.#copies.produce(copies.map((copy) => this.#produced(copy)));
  }

  #produced({ partition, originOffset, key, value, headers, stamp }: RecordCopy): ProducedRecord {
    const { topic } = this.#options.source;
    return {
      partition,
      timestampMs: Date.now(),
      key: key === null ? null : Buffer.from(key),
      value: Buffer.from(value),
      headers: headersOf([
        ...headers.filter(([name]) => name !== ORIGIN_HEADER && name !== STAMP_HEADER),
        ...(stamp === null ? [] : [[STAMP_HEADER, Buffer.from(stamp)] as const]),
        [ORIGIN_HEADER, originHeader({ topic, partition, offset: originOffset })],
      ]),
    };
  }

  async mark(end: LetterEnd, marks: readonly LetterMark[]): Promise<void> {
    const { letters, source } = this.#options;
    const partitions = await letters.partitions();
    const timestampMs = Date.now();
    await this.#marks.produce(
      marks.map(({ partition, offset, upTo }) => ({
        partition: partition % partitions,
        timestampMs,
        key: null,
        value: null,
        headers: markHeaders(end, { partition, offset, upTo }, source.topic),
      })),
    );
  }

  async close(): Promise<void> {
    const readers = await Promise.allSettled(this.#readers.values());
    const closing = readers.map((reader) =>
      reader.status === 'fulfilled' ? reader.value.close() : undefined,
    );
    await Promise.all([...closing, this.#copies.close(), this.#marks.close()]);
  }

  async #reader(info: KafkaLogInfo): Promise<KafkaLogReader> {
    let opened = this.#readers.get(info);
    if (opened === undefined) {
      const { kafka, logger, group, timings } = this.#options;
      const purpose = 'dlq';
      opened = LoneReader.open({
        ...{ kafka, info, logger, group, purpose },
        ...(timings === undefined ? {} : { timings }),
      });
      this.#readers.set(info, opened);
    }
    return (await opened).reader;
  }
}

function headersOf(headers: RecordHeaders): Record<string, Buffer | Buffer[]> {
  // No prototype: the names are somebody else's.
  const named: Record<string, Buffer | Buffer[]> = Object.create(null);
  for (const [name, bytes] of headers) {
    const value = Buffer.from(bytes);
    const former = named[name];
    named[name] = former === undefined ? value : [former, value].flat();
  }
  return named;
}
