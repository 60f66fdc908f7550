/**
 * Processes of a deployment, all within the test's own: any number of runtimes with roles of their own, over topics,
 * groups and a Redis prefix that no other test has, on one clock moved by hand or on event time.
 *
 * Append times are those of the hand-moved clock (topics keep their producers' times), so that lag, `maxFuture` and
 * lateness are the same in every run. What this does not show: processes that die (see test/), and several machines.
 */
import { randomUUID } from 'node:crypto';
import kafkajs, { type Admin, type IHeaders, type Kafka, type KafkaMessage } from 'kafkajs';
import { type Logger, pino } from 'pino';
import type { Answer } from '../../embedded/testing/test-engine.ts';
import { ManualClock } from '../../engine/clock.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { deadLetterTopic } from '../../ingest/log/kafka/kafka-dead-letters.ts';
import { makeTopics } from '../../ingest/log/kafka/testing/make-topics.ts';
import { waitUntil } from '../../services/process/wait-until.ts';
import { type Distributed, type DistributedOptions, openDistributed, type Role } from '../runtime.ts';
import { withOwnTopics } from './own-topics.ts';

/** Quick to notice what the defaults take seconds for. */
const GROUP_TIMINGS = {
  sessionTimeoutMs: 10_000,
  heartbeatIntervalMs: 300,
  rebalanceTimeoutMs: 15_000,
  metadataMaxAgeMs: 500,
} as const;
const LOOK_EVERY_MS = 50;

/** Bounds every wait of these tests; it ends only what hangs. */
export const WAIT_MS = 45_000;

export const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });

export interface TestDeploymentOptions {
  /** All exports of a feature repo. Its topics are given other names. */
  readonly definitions: Iterable<unknown>;
  readonly brokers: readonly string[];
  readonly redisUrl: string;
  readonly redis?: Partial<DistributedOptions['redis']>;
  /** Of each topic. @default 2 */
  readonly partitions?: number;
  /** Whether the deployment makes its topics. @default true */
  readonly makeTopics?: boolean;
  readonly topicConfig?: Readonly<Record<string, string>>;
  /** Where the hand-moved clock starts. */
  readonly startMs?: number;
  /** For all of its processes. */
  readonly process?: Partial<DistributedOptions>;
}

export interface ProducedRecord {
  readonly key?: Buffer | string | null;
  readonly value: Buffer | string | null;
  readonly headers?: IHeaders;
}

export class TestDeployment {
  readonly id = randomUUID();
  readonly clock: ManualClock;
  readonly repo: CompiledRepo;
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly #options: TestDeploymentOptions;
  readonly #processes = new Set<TestProcess>();

  static async open(options: TestDeploymentOptions): Promise<TestDeployment> {
    const deployment = new TestDeployment(options);
    await deployment.admin.connect();
    if (options.makeTopics ?? true) {
      for (const source of deployment.repo.sources.keys()) await deployment.makeTopic(source);
    }
    return deployment;
  }

  private constructor(options: TestDeploymentOptions) {
    this.#options = options;
    this.clock = new ManualClock(options.startMs ?? 0);
    this.repo = this.compile(options.definitions);
    this.kafka = new kafkajs.Kafka({
      brokers: [...options.brokers],
      clientId: 'test',
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { retries: 10, maxRetryTime: 1_000 },
    });
    this.admin = this.kafka.admin();
  }

  topicOf(source: string): string {
    return `test-${this.id}-${source}`;
  }

  /** Another version of the feature repo, over the same topics. */
  compile(definitions: Iterable<unknown>): CompiledRepo {
    return compileRepo(withOwnTopics(definitions, (source) => this.topicOf(source)));
  }

  get processes(): readonly TestProcess[] {
    return [...this.#processes];
  }

  /** The topic of a source and that of its dead letters. */
  async makeTopic(source: string): Promise<void> {
    const { partitions = 2, topicConfig = {} } = this.#options;
    const topic = this.topicOf(source);
    const config: Record<string, string> = {
      'message.timestamp.type': 'CreateTime',
      // Events of these tests are years old, or centuries ahead.
      'message.timestamp.before.max.ms': '9223372036854775807',
      'message.timestamp.after.max.ms': '9223372036854775807',
      'retention.ms': '-1',
    };
    const entriesOf = (of: Readonly<Record<string, string>>) =>
      Object.entries(of).map(([name, value]) => ({ name, value }));
    await makeTopics(this.admin, [
      { topic, numPartitions: partitions, configEntries: entriesOf({ ...config, ...topicConfig }) },
      { topic: deadLetterTopic(topic), numPartitions: 1, configEntries: entriesOf(config) },
    ]);
  }

  /** Records as another producer would write them; appended now. */
  async produce(source: string, partition: number, records: readonly ProducedRecord[]): Promise<void> {
    const producer = this.kafka.producer();
    await producer.connect();
    try {
      const timestamp = String(this.clock.nowMs());
      await producer.send({
        topic: this.topicOf(source),
        acks: -1,
        messages: records.map(({ key = null, value, headers = {} }) => {
          return { partition, timestamp, key, value, headers };
        }),
      });
    } finally {
      await producer.disconnect();
    }
  }

  /** The first records of a topic, of all partitions, as they come. */
  async consume(topic: string, count: number): Promise<KafkaMessage[]> {
    const consumer = this.kafka.consumer({ groupId: `test-${randomUUID()}` });
    const messages: KafkaMessage[] = [];
    await consumer.connect();
    try {
      await consumer.subscribe({ topic, fromBeginning: true });
      await consumer.run({
        eachMessage: async ({ message }) => {
          messages.push(message);
        },
      });
      await until(`${count} records in ${topic}`, () => messages.length >= count);
    } finally {
      await consumer.disconnect();
    }
    return messages;
  }

  /** Ends of a source's partitions. */
  async ends(source: string): Promise<number[]> {
    const ends: number[] = [];
    for (const { partition, high } of await this.admin.fetchTopicOffsets(this.topicOf(source))) {
      ends[partition] = Number(high);
    }
    return ends;
  }

  /** The options of a process, for those that are not expected to start. */
  processOptions(roles: readonly Role[], options: Partial<DistributedOptions> = {}): DistributedOptions {
    return {
      repo: this.repo,
      roles: new Set(roles),
      kafka: { brokers: this.#options.brokers, clientId: 'millrace-test' },
      group: `test-${this.id}`,
      groupTimings: GROUP_TIMINGS,
      createTopics: null,
      redis: {
        nodes: this.#options.redisUrl,
        prefix: `test-${this.id}`,
        // A busy machine may keep a Redis from answering for longer than the default.
        readTimeoutMs: 5_000,
        ...this.#options.redis,
      },
      registry: null,
      wallClock: this.clock,
      lookEveryMs: LOOK_EVERY_MS,
      processMetrics: false,
      ...this.#options.process,
      ...options,
    };
  }

  /** Returns when the process is a member of its groups and has found its positions. */
  async start(roles: readonly Role[], options: Partial<DistributedOptions> = {}): Promise<TestProcess> {
    const process = await this.open(roles, options);
    await process.runtime.ready();
    return process;
  }

  /** As `start`, without waiting. */
  async open(roles: readonly Role[], options: Partial<DistributedOptions> = {}): Promise<TestProcess> {
    const runtime = await openDistributed(this.processOptions(roles, options));
    const process = new TestProcess(runtime, () => this.#processes.delete(process));
    this.#processes.add(process);
    return process;
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.close()));
    const topics = [...this.repo.sources.keys()]
      .map((source) => this.topicOf(source))
      .flatMap((topic) => [topic, deadLetterTopic(topic)]);
    const present = await this.admin.listTopics().catch(() => [] as string[]);
    await this.admin
      .deleteTopics({ topics: topics.filter((topic) => present.includes(topic)) })
      .catch(() => {});
    await this.admin.disconnect();
  }
}

export class TestProcess {
  readonly runtime: Distributed;
  readonly #onClose: () => void;

  constructor(runtime: Distributed, onClose: () => void) {
    this.runtime = runtime;
    this.#onClose = onClose;
  }

  async close(): Promise<void> {
    this.#onClose();
    await this.runtime.close();
  }

  async post(url: string, body: unknown): Promise<Answer> {
    return answerOf(
      await this.runtime.app.inject({ method: 'POST', url, payload: body as Record<string, unknown> }),
    );
  }

  async get(url: string): Promise<Answer> {
    return answerOf(await this.runtime.app.inject(url));
  }

  push(source: string, events: readonly unknown[], wait: 'durable' | 'applied' = 'applied'): Promise<Answer> {
    return this.post(`/v1/sources/${source}/events?wait=${wait}`, { events });
  }

  read(service: string, body: unknown): Promise<Answer> {
    return this.post(`/v1/services/${service}/features`, body);
  }

  /** The sum of a metric's values over the labels given. */
  async metric(name: string, labels: Readonly<Record<string, string | number>> = {}): Promise<number> {
    const text = String((await this.get('/metrics')).body);
    let sum = 0;
    for (const line of text.split('\n')) {
      if (!line.startsWith(`${name} `) && !line.startsWith(`${name}{`)) continue;
      const fits = Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`));
      if (fits) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    }
    return sum;
  }

  /** Records that its view of the log says are still to be applied. */
  get lagRecords(): number {
    return this.runtime.readiness().lag.reduce((sum, { records }) => sum + records, 0);
  }

  /** Waits until all that was pushed here has been applied, wherever. */
  async caughtUp(): Promise<void> {
    await until('the log is applied', () => this.lagRecords === 0);
  }
}

/** A logger whose lines a test reads. */
export function linesOf(level = 'warn'): {
  readonly logger: Logger;
  readonly lines: Record<string, unknown>[];
} {
  const lines: Record<string, unknown>[] = [];
  return { lines, logger: pino({ level }, { write: (line: string) => void lines.push(JSON.parse(line)) }) };
}

export function answerOf(response: { statusCode: number; body: string; headers: object }): Answer {
  const headers = response.headers as Record<string, unknown>;
  const json = String(headers['content-type']).includes('application/json');
  return { status: response.statusCode, body: json ? JSON.parse(response.body) : response.body, headers };
}
