/**
 * Reads a whole topic beside everyone else: in a consumer group that was not there before and is deleted afterwards, as
 * kafkajs has no other way. Nothing is committed in it, and no other group hears of it.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka } from 'kafkajs';
import type { KafkaLogger } from './kafka-client.ts';
import { KafkaUnreachableError } from './kafka-errors.ts';
import { KafkaLogReader, type KafkaLogReaderOptions } from './kafka-log-reader.ts';
import type { KafkaLogInfo } from './topic-offsets.ts';
import { settledWithin } from './within.ts';

export interface LoneReaderOptions
  extends Pick<KafkaLogReaderOptions, 'timings' | 'maxQueuedBytes' | 'onStalled' | 'stallMs'> {
  /** For requests, and for consumers. */
  readonly kafka: { readonly client: Kafka; readonly consumer: Kafka };
  readonly info: KafkaLogInfo;
  readonly logger: KafkaLogger;
  /** The group is named `group.source.purpose-UUID`. */
  readonly group: string;
  readonly purpose: string;
  /** Ends the wait for partitions. */
  readonly signal?: AbortSignal;
}

const JOIN_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const DELETE_TIMEOUT_MS = 5_000;

export class LoneReader {
  readonly reader: KafkaLogReader;
  readonly #client: Kafka;
  #closing: Promise<void> | null = null;

  /**
   * Returns when it has all partitions that the topic has now.
   * @throws {TopicMissingError}
   * @throws {KafkaUnreachableError} also where the group does not come about within a minute; the signal's reason
   */
  static async open(options: LoneReaderOptions): Promise<LoneReader> {
    const { kafka, info, logger, group, purpose, signal, timings, maxQueuedBytes, onStalled, stallMs } =
      options;
    const reader = new KafkaLogReader({
      ...{ kafka: kafka.consumer, info, logger },
      groupId: `${group}.${info.source}.${purpose}-${randomUUID()}`,
      ...(timings === undefined ? {} : { timings }),
      ...(maxQueuedBytes === undefined ? {} : { maxQueuedBytes }),
      ...(onStalled === undefined ? {} : { onStalled }),
      ...(stallMs === undefined ? {} : { stallMs }),
    });
    const lone = new LoneReader(reader, kafka.client);
    try {
      await reader.start();
      await joined(reader, info, signal);
      return lone;
    } catch (error) {
      // Nobody else has it: it would stay in its group.
      await lone.close();
      throw error;
    }
  }

  private constructor(reader: KafkaLogReader, client: Kafka) {
    this.reader = reader;
    this.#client = client;
  }

  /** Leaves the group and deletes it. Bounded; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.reader.close();
    await settledWithin(DELETE_TIMEOUT_MS, this.#deleteGroup());
  }

  /** Without it the group is gone when the brokers next look for empty ones. */
  async #deleteGroup(): Promise<void> {
    const admin = this.#client.admin();
    await admin.connect();
    try {
      await admin.deleteGroups([this.reader.groupId]);
    } finally {
      await admin.disconnect();
    }
  }
}

async function joined(
  reader: KafkaLogReader,
  info: KafkaLogInfo,
  signal: AbortSignal | undefined,
): Promise<void> {
  const partitions = await info.partitions();
  const deadlineMs = performance.now() + JOIN_TIMEOUT_MS;
  while (reader.status().assigned.length < partitions) {
    if (performance.now() > deadlineMs) {
      const { state, reason = 'it does not say why' } = reader.status();
      throw new KafkaUnreachableError(
        `topic ${info.topic} could not be read from Kafka: the group ${reader.groupId} is ${state} (${reason})`,
      );
    }
    await delay(POLL_MS);
    signal?.throwIfAborted();
  }
}
