import { setTimeout as delay } from 'node:timers/promises';
import type { ProducerBatch, RecordMetadata } from 'kafkajs';
import { onTestFinished } from 'vitest';
import type { SeededRandom } from '../../engine/testing/random.ts';
import { kafkaClient } from '../topic-content.ts';
import type { Events, Payment } from './events.ts';
import type { Ledger } from './ledger.ts';
import type { Load } from './load.ts';
import { PARTITIONS, type Topics } from './topics.ts';

const PAUSE_MS = 80;

/** Payment → the value of its record. */
export type Encode = (payment: Payment) => Buffer;

const json: Encode = (payment) => Buffer.from(JSON.stringify(payment));

/** Records written straight to the topics, without us, among them repetitions and some that nobody can use. */
export class Producer {
  produced = 0;
  poison = 0;
  /** Requests that failed, and were sent again. */
  retries = 0;
  readonly #topics: Topics;
  readonly #events: Events;
  readonly #ledger: Ledger;
  readonly #random: SeededRandom;
  readonly #encode: Encode;

  constructor(args: {
    topics: Topics;
    events: Events;
    ledger: Ledger;
    random: SeededRandom;
    /** @default JSON */
    encode?: Encode;
  }) {
    this.#topics = args.topics;
    this.#events = args.events;
    this.#ledger = args.ledger;
    this.#random = args.random;
    this.#encode = args.encode ?? json;
  }

  async run(load: Load, brokers: readonly string[]): Promise<void> {
    const producer = kafkaClient(brokers).producer({ allowAutoTopicCreation: false });
    onTestFinished(() => producer.disconnect());
    await producer.connect();
    let partition = 0;
    let former: Payment | null = null;
    while (!load.stopped) {
      const payments: Payment[] = [];
      const messages: { partition: number; value: Buffer | null; key?: Buffer }[] = [];
      for (let i = this.#random.between(1, 16); i > 0; i--) {
        const payment: Payment =
          former !== null && this.#random.chance(0.1) ? former : this.#events.payment();
        former = payment;
        let value: Buffer | null = this.#encode(payment);
        if (this.#random.chance(0.02)) {
          value = this.#random.pick([null, Buffer.from('{'), Buffer.from([0xff]), Buffer.from('{"id":1}')]);
          this.poison++;
        } else {
          payments.push(payment);
        }
        // Round and round, so that no partition holds the event clock back.
        messages.push({ partition: partition++ % PARTITIONS, value, key: Buffer.from(`key-${i}`) });
      }
      const visits = Array.from({ length: PARTITIONS }, (_, to) => ({
        partition: to,
        value: Buffer.from(JSON.stringify(this.#events.visit())),
      }));
      this.#ledger.begin(payments);
      const request = {
        acks: -1,
        topicMessages: [
          { topic: this.#topics.payments, messages },
          { topic: this.#topics.visits, messages: visits },
        ],
      };
      for (let sent = false; !sent && !load.stopped; ) {
        sent = await producer.sendBatch(request).then(
          (answers) => isWhole(request, answers),
          () => false,
        );
        if (!sent) this.retries++;
        else this.#ledger.acknowledge(payments);
      }
      this.produced += messages.length + visits.length;
      await delay(PAUSE_MS);
    }
  }
}

/** kafkajs leaves out the records of a partition that has no leader at the time, and is content. */
function isWhole({ topicMessages }: ProducerBatch, answers: readonly RecordMetadata[]): boolean {
  return topicMessages!.every(({ topic, messages }) =>
    messages.every(({ partition }) =>
      answers.some((answer) => answer.topicName === topic && answer.partition === partition),
    ),
  );
}
