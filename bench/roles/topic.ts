/** Topics of the benchmark, and events put into them with kafkajs. */
import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type Kafka, type Producer } from 'kafkajs';
import { repairKafkajs } from '../../ingest/log/kafka/kafkajs-repairs.ts';
import type { Scope } from './scope.ts';

export interface EventMessage {
  readonly partition: number;
  readonly value: string;
}

const BATCH = 2_000;
/** What producers are told to linger for. */
const STEADY_TICK_MS = 20;

function clientOf(brokers: readonly string[]): Kafka {
  // It runs beside what is measured.
  repairKafkajs();
  return new kafkajs.Kafka({
    brokers: [...brokers],
    clientId: 'millrace-bench',
    logLevel: kafkajs.logLevel.NOTHING,
  });
}

export class BenchTopic {
  readonly name: string;
  readonly #producer: Producer;

  static async create(args: {
    readonly brokers: readonly string[];
    readonly name: string;
    readonly partitions: number;
    /** Fills of it show all at once. */
    readonly transactional?: boolean;
    readonly scope: Scope;
  }): Promise<BenchTopic> {
    const kafka = clientOf(args.brokers);
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({
      waitForLeaders: true,
      topics: [{ topic: args.name, numPartitions: args.partitions, replicationFactor: 1 }],
    });
    await admin.disconnect();
    const producer = kafka.producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      ...(args.transactional === true
        ? { transactionalId: `bench-${args.name}`, idempotent: true, maxInFlightRequests: 1 }
        : {}),
    });
    await producer.connect();
    args.scope.defer(() => producer.disconnect());
    return new BenchTopic(args.name, producer);
  }

  private constructor(name: string, producer: Producer) {
    this.name = name;
    this.#producer = producer;
  }

  async send(messages: readonly EventMessage[]): Promise<void> {
    await this.#producer.send({ topic: this.name, messages: [...messages] });
  }

  /** As fast as it goes. */
  async fill(count: number, message: (i: number) => EventMessage): Promise<void> {
    for (let from = 0; from < count; from += BATCH) {
      const size = Math.min(BATCH, count - from);
      await this.send(Array.from({ length: size }, (_, i) => message(from + i)));
    }
  }

  /** Nobody sees any of them before all are there: `seen` is then resolved. */
  async fillAtOnce(count: number, message: (i: number) => EventMessage): Promise<void> {
    const transaction = await this.#producer.transaction();
    try {
      for (let from = 0; from < count; from += BATCH) {
        const messages = Array.from({ length: Math.min(BATCH, count - from) }, (_, i) => message(from + i));
        await transaction.send({ topic: this.name, messages });
      }
      await transaction.commit();
    } catch (error) {
      await transaction.abort();
      throw error;
    }
  }

  /**
   * At a steady rate, whatever the broker does: sends do not wait for one another. Every few milliseconds those that
   * are due are sent together. Returns how many were sent.
   */
  async pour(args: {
    readonly ratePerSecond: number;
    readonly ms: number;
    readonly message: (i: number) => EventMessage;
    /** A batch is about to be sent; `acknowledged` resolves when the broker has it. */
    readonly onSend?: (from: number, count: number, acknowledged: Promise<void>) => void;
  }): Promise<number> {
    const total = Math.floor((args.ratePerSecond * args.ms) / 1000);
    const startedMs = performance.now();
    const sends: Promise<void>[] = [];
    let sent = 0;
    while (sent < total) {
      const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1000) * args.ratePerSecond));
      if (due > sent) {
        const from = sent;
        const acknowledged = this.send(Array.from({ length: due - from }, (_, i) => args.message(from + i)));
        args.onSend?.(from, due - from, acknowledged);
        // Reported where all are awaited.
        acknowledged.catch(() => {});
        sends.push(acknowledged);
        sent = due;
      }
      await delay(STEADY_TICK_MS);
    }
    await Promise.all(sends);
    return total;
  }
}
