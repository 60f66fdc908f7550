/** Appends a source's events to its topic. */
import { checkRecords } from '../append-record.ts';
import type { AppendRecord, LogEnds, LogWriter } from '../event-log.ts';
import { GroupedProducer, type GroupedProducerOptions } from './grouped-producer.ts';
import { ORIGIN_HEADER, originHeader } from './record-origin.ts';
import { durabilityProblems } from './topic-durability.ts';

/** The header that holds a record's stamp, UTF-8. */
export const STAMP_HEADER = 'millrace-stamp';

const NO_HEADERS = {};

/** Somebody waits for the answer, and can push again: not for as long as a consumer that has nowhere else to go. */
export const PUSH_TIMEOUT_MS = 10_000;

export class KafkaLogWriter implements LogWriter {
  readonly source: string;
  readonly #info: GroupedProducerOptions['info'];
  readonly #logger: GroupedProducerOptions['logger'];
  readonly #producer: GroupedProducer;

  /** @param options `deliveryTimeoutMs` is 10,000 by default */
  constructor(options: GroupedProducerOptions) {
    this.source = options.info.source;
    this.#info = options.info;
    this.#logger = options.logger;
    this.#producer = new GroupedProducer({ deliveryTimeoutMs: PUSH_TIMEOUT_MS, ...options });
  }

  /** Bytes accepted and not yet acknowledged or given up. */
  get queuedBytes(): number {
    return this.#producer.queuedBytes;
  }

  /** Fails early where no broker can be reached or the topic is missing; warns where the topic can lose what it took. */
  async connect(): Promise<void> {
    await this.#info.partitions();
    await this.#producer.connect();
    const durability = await this.#info.durability();
    for (const problem of durability === null ? [] : durabilityProblems(durability)) {
      this.#logger.warn({ topic: this.#info.topic }, `Kafka: ${problem}`);
    }
  }

  partitions(): Promise<number> {
    return this.#info.partitions();
  }

  identity(partition: number): Promise<string> {
    return this.#info.identity(partition);
  }

  ends(partition: number): Promise<LogEnds> {
    return this.#info.ends(partition);
  }

  /** See `GroupedProducer.produce` for the errors; `InvalidRecordError` as every log. Event times are not written. */
  async append(records: readonly AppendRecord[]): Promise<number[]> {
    const { topic } = this.#info;
    const produced = records.map(({ partition, appendedMs, stamp, value, originOffset }) => ({
      partition,
      timestampMs: appendedMs,
      key: null,
      // The caller may use its buffer again.
      value: Buffer.from(value),
      headers: headersOf(topic, partition, stamp, originOffset),
    }));
    if (records.length > 0) checkRecords(records, await this.#info.partitions());
    return this.#producer.produce(produced);
  }

  /** Takes no more records, waits for those under way, disconnects. */
  close(): Promise<void> {
    return this.#producer.close();
  }
}

function headersOf(
  topic: string,
  partition: number,
  stamp: string | null,
  originOffset: number | undefined,
): Readonly<Record<string, Buffer>> {
  if (originOffset === undefined) return stamp === null ? NO_HEADERS : { [STAMP_HEADER]: Buffer.from(stamp) };
  const origin = originHeader({ topic, partition, offset: originOffset });
  if (stamp === null) return { [ORIGIN_HEADER]: origin };
  return { [STAMP_HEADER]: Buffer.from(stamp), [ORIGIN_HEADER]: origin };
}
