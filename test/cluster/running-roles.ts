import { randomUUID } from 'node:crypto';
import type { Admin, Kafka } from 'kafkajs';
import { expect, onTestFinished } from 'vitest';
import { deadLetterTopic } from '../../ingest/log/kafka/kafka-dead-letters.ts';
import { fixture, postJson } from '../millrace-process.ts';
import { expectNoDefects, SupervisedProcess } from '../supervised-process.ts';
import { kafkaClient, readTopic, type TopicRecord } from '../topic-content.ts';
import type { Events } from './events.ts';
import { Groups } from './groups.ts';
import type { Ledger } from './ledger.ts';
import { expectServedAsTrue } from './served.ts';
import { PARTITIONS, type Topics, topicsOf } from './topics.ts';
import type { Truth } from './truth.ts';
import { until } from './until.ts';

export interface RunningRolesOptions {
  /** Begins the names of topics, groups and keys. */
  readonly name: string;
  readonly brokers: readonly string[];
  /** Value of `--redis`. */
  readonly redis: string;
  /** Further flags of every process. */
  readonly flags?: readonly string[];
  /** Further flags of those that ingest. */
  readonly ingestFlags?: readonly string[];
  /** A process that is started while a server is away ends, and is started again. @default false */
  readonly startsMayFail?: boolean;
}

/** In the order of partitions and offsets; letters are those of payments. */
export interface TopicRecords {
  readonly payments: readonly TopicRecord[];
  readonly visits: readonly TopicRecord[];
  readonly letters: readonly TopicRecord[];
}

/** Two processes of each role, over the fixture `roles` on event time, and what is known of them from outside. */
export class RunningRoles {
  readonly topics: Topics;
  readonly ingest: readonly SupervisedProcess[];
  readonly compact: readonly SupervisedProcess[];
  readonly serve: readonly SupervisedProcess[];
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly groups: Groups;
  /** States, by compactors that have ended. */
  compacted = 0;
  readonly #start: (role: string, name: string) => SupervisedProcess;
  readonly #read: Readonly<Record<keyof TopicRecords, Map<string, TopicRecord>>> = {
    payments: new Map(),
    visits: new Map(),
    letters: new Map(),
  };

  /** Returns when all are ready and both groups are balanced. */
  static async start(options: RunningRolesOptions): Promise<RunningRoles> {
    const roles = new RunningRoles(options);
    onTestFinished(() => roles.admin.disconnect());
    await roles.admin.connect();
    await roles.ready();
    await roles.groups.have(roles.ingest.length);
    return roles;
  }

  private constructor(options: RunningRolesOptions) {
    const { name, brokers, redis, flags = [], ingestFlags = [], startsMayFail = false } = options;
    const id = randomUUID();
    const prefix = `${name}-${id}`;
    this.topics = topicsOf(prefix);
    const shared = ['--kafka', brokers.join(','), '--redis', redis, '--clock', 'event', ...flags];
    shared.push('--redis-prefix', id.slice(0, 8));
    shared.push('--create-topics', '--partitions', `${PARTITIONS}`);
    this.#start = (role, name_) =>
      new SupervisedProcess(role, name_, {
        features: fixture('roles'),
        flags: role === 'ingest' ? [...shared, '--group', prefix, ...ingestFlags] : shared,
        env: { TEST_TOPICS: prefix },
        startsMayFail,
      });
    this.ingest = [this.#start('ingest', 'ingest a'), this.#start('ingest', 'ingest b')];
    this.compact = [this.#start('compact', 'compact a'), this.#start('compact', 'compact b')];
    this.serve = [this.#start('serve', 'serve a'), this.#start('serve', 'serve b')];
    this.kafka = kafkaClient(brokers);
    this.admin = this.kafka.admin();
    this.groups = new Groups(this.admin, [`${prefix}.payments`, `${prefix}.visits`]);
  }

  get all(): readonly SupervisedProcess[] {
    return [...this.ingest, ...this.compact, ...this.serve];
  }

  /** One more member of the groups, which is nobody's of the above. */
  startIngest(name: string): SupervisedProcess {
    return this.#start('ingest', name);
  }

  async ready(): Promise<void> {
    await Promise.all(this.all.map((process_) => process_.ready()));
  }

  /** To be called before a process is ended: what it has compacted ends with it. */
  async noteCompacted(process_: SupervisedProcess): Promise<void> {
    this.compacted += await process_
      .metric('millrace_compaction_states_total', /outcome="compacted"/)
      .catch(() => 0);
  }

  /** Waits until all are ready, the groups are balanced, and every server has seen that all of the log is applied. */
  async heal(events: Events): Promise<void> {
    await this.ready();
    await this.groups.have(this.ingest.length);
    // By what each server says of itself: it has looked at the ends of the log since the load has stopped.
    for (const server of this.serve) {
      await until(`a push through ${server.name} is applied`, async () => {
        const push = { events: [{ ...events.payment(), card: 'last' }] };
        return (await postJson(`${server.url}/v1/sources/payments/events?wait=applied`, push)).status === 200;
      });
      await until(`${server.name} sees no lag`, async () => {
        return (await server.metric('millrace_consumer_lag_records')) === 0;
      });
    }
    for (const process_ of this.compact) await this.noteCompacted(process_);
  }

  /** What the topics hold, and what they held when they were read before. */
  async readTopics(): Promise<TopicRecords> {
    const topics = { ...this.topics, letters: deadLetterTopic(this.topics.payments) };
    for (const name of ['payments', 'visits', 'letters'] as const) {
      for (const record of await readTopic(this.kafka, topics[name])) {
        this.#read[name].set(`${record.partition}/${record.offset}`, record);
      }
    }
    const recordsOf = (name: keyof TopicRecords): TopicRecord[] =>
      [...this.#read[name].values()].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
    return { payments: recordsOf('payments'), visits: recordsOf('visits'), letters: recordsOf('letters') };
  }

  /**
   * Nothing acknowledged is missing in the topics, every record that is no event is a dead letter, and all values are the
   * oracle's.
   * @returns how many values were compared
   */
  async expectTrue(args: {
    truth: Truth;
    ledger: Ledger;
    records: TopicRecords;
    /** For messages. */
    run: string;
  }): Promise<number> {
    const { truth, ledger, records, run } = args;
    truth.add('payments', records.payments);
    truth.add('visits', records.visits);
    const origins = records.letters.map(
      ({ headers }) => `${headers['millrace-partition']}/${headers['millrace-offset']}`,
    );
    expect(new Set(origins), run).toEqual(new Set(truth.unusable));
    for (const id of ledger.acknowledgedIds)
      if (!truth.ids.has(id)) throw new Error(`${id} was lost, ${run}`);
    return expectServedAsTrue(this.serve, truth, run);
  }

  /** All end in order when they are asked to, and none has written of a defect. */
  async stop(): Promise<void> {
    for (const exit of await Promise.all(this.all.map((process_) => process_.stop()))) {
      expect(exit).toEqual({ code: 0, signal: null });
    }
    expectNoDefects(this.all);
  }
}
