/**
 * The roles as processes of their own, over a real Kafka and a real Redis, while they are killed, suspended and
 * started again. Pushes come over HTTP to both servers, and records straight into the topics, among them repetitions
 * on other partitions and records that nobody can use. In the end every value equals the oracle's, computed from what
 * a foreign consumer reads in the topics, and every acknowledged event is among it.
 *
 * The clock is event time, twenty minutes of it a second: folding, expiry and all edges of the windows happen within
 * the run. The schedule is in acknowledged pushes and in what the consumer group says, not in seconds.
 *
 * Not tested here: faults of Kafka and Redis themselves, and power loss.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { decodeEvent } from '../engine/definitions/decode-event.ts';
import { positionEventId } from '../engine/event-id.ts';
import { type OracleEvent, oracleValue } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { deadLetterTopic } from '../ingest/log/kafka/kafka-dead-letters.ts';
import { toJson } from '../serve/json-value.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import * as definitions from './fixtures/roles/features.ts';
import { fixture, postJson } from './millrace-process.ts';
import { expectNoDefects, SupervisedProcess } from './supervised-process.ts';
import { kafkaClient, readTopic, type TopicRecord } from './topic-content.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_121);
const EVENT_MS_PER_MS = 1_200;
const HOUR_MS = 3_600_000;
const CARDS = Array.from({ length: 12 }, (_, i) => `card-${i}`);
const SHOPS = ['corner', 'mall', 'kiosk', null];
const WRITERS = 3;
/** Pauses of the load, ms: two cores also run six processes and two servers. */
const WRITER_PAUSE_MS = 25;
const PRODUCER_PAUSE_MS = 80;
/** Longer than any wait that is meant to happen; a session of the consumer group ends after 30 s. */
const WAIT_MS = 75_000;
const ANSWER_MS = 3_000;

const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });

interface Payment {
  readonly id: string;
  readonly at: string;
  readonly card: string;
  readonly shop: string | null;
  readonly amount: number;
  readonly points: number | string | null;
}

/** Events, their times along an accelerated clock, some of them hours late. */
class Events {
  readonly #random: SeededRandom;
  readonly #fromMs = Date.now() - 4 * 86_400_000;
  readonly #startedMs = performance.now();
  #next = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  get nowMs(): number {
    return this.#fromMs + Math.floor((performance.now() - this.#startedMs) * EVENT_MS_PER_MS);
  }

  at(): string {
    const lateMs = this.#random.chance(0.1) ? this.#random.below(3 * HOUR_MS) : this.#random.below(60_000);
    return new Date(this.nowMs - lateMs).toISOString();
  }

  payment(): Payment {
    const random = this.#random;
    const points = random.below(3);
    return {
      id: `p${this.#next++}`,
      at: this.at(),
      card: random.pick(CARDS),
      shop: random.pick(SHOPS),
      amount: random.below(100_000) / 100,
      points: points === 0 ? null : points === 1 ? random.below(1_000) : `90071992547409${random.below(100)}`,
    };
  }

  visit(): { readonly at: string; readonly card: string; readonly page: string } {
    return { at: this.at(), card: this.#random.pick(CARDS), page: `/${this.#random.below(6)}` };
  }
}

/** Counts what happens, so that schedules need no seconds. */
class Load {
  acknowledged = 0;
  produced = 0;
  retries = 0;
  /** States, by compactors that have ended. */
  compacted = 0;
  stopped = false;
  readonly acknowledgedIds = new Set<string>();
  readonly #servers: readonly SupervisedProcess[];
  readonly #events: Events;
  readonly #random: SeededRandom;

  constructor(servers: readonly SupervisedProcess[], events: Events, random: SeededRandom) {
    this.#servers = servers;
    this.#events = events;
    this.#random = random;
  }

  /** Resolves after as many more acknowledged pushes. */
  async more(pushes: number): Promise<void> {
    const target = this.acknowledged + pushes;
    await until(`${pushes} more pushes are acknowledged`, () => this.acknowledged >= target || this.stopped);
  }

  /** One writer; it stays with a server for a while, and changes when that one does not answer. */
  async write(): Promise<void> {
    const random = this.#random;
    let server = random.below(this.#servers.length);
    const push = async (source: string, events: readonly unknown[]): Promise<void> => {
      if (random.chance(0.1)) server++;
      const startedMs = performance.now();
      // Until it is acknowledged: the same events again wherever it is not known what became of them.
      while (!(await this.#push(this.#servers[server % this.#servers.length]!, source, events))) {
        if (performance.now() - startedMs > WAIT_MS) throw new Error('a push was never acknowledged');
        server++;
        await delay(WRITER_PAUSE_MS);
      }
    };
    while (!this.stopped) {
      const size = random.between(1, 8);
      if (random.chance(0.75)) {
        const batch = Array.from({ length: size }, () => this.#events.payment());
        await push('payments', batch);
        for (const { id } of batch) this.acknowledgedIds.add(id);
      } else {
        await push(
          'visits',
          Array.from({ length: size }, () => this.#events.visit()),
        );
      }
      await delay(WRITER_PAUSE_MS);
    }
  }

  async #push(server: SupervisedProcess, source: string, events: readonly unknown[]): Promise<boolean> {
    if (server.url === null) return false;
    const answer = await fetch(`${server.url}/v1/sources/${source}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ events }),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
      .then(async (response) => ({ status: response.status, text: await response.text() }))
      .catch(() => null);
    if (answer?.status === 200) {
      const { accepted, duplicates, rejected } = JSON.parse(answer.text);
      if (accepted + duplicates !== events.length || rejected.length > 0) throw new Error(answer.text);
      this.acknowledged++;
      return true;
    }
    if (answer !== null && answer.status !== 429 && answer.status !== 503) {
      throw new Error(`HTTP ${answer.status}: ${answer.text}`);
    }
    this.retries++;
    return false;
  }
}

/** Records written straight to the topics, without us. */
class Producer {
  poison = 0;
  readonly #topics: Topics;
  readonly #events: Events;
  readonly #random: SeededRandom;

  constructor(topics: Topics, events: Events, random: SeededRandom) {
    this.#topics = topics;
    this.#events = events;
    this.#random = random;
  }

  async run(load: Load, brokers: readonly string[]): Promise<void> {
    const producer = kafkaClient(brokers).producer({ allowAutoTopicCreation: false });
    onTestFinished(() => producer.disconnect());
    await producer.connect();
    let partition = 0;
    let former: Buffer | null = null;
    while (!load.stopped) {
      const messages: { partition: number; value: Buffer | null; key?: Buffer }[] = [];
      for (let i = this.#random.between(1, 16); i > 0; i--) {
        let value: Buffer | null = Buffer.from(JSON.stringify(this.#events.payment()));
        if (former !== null && this.#random.chance(0.1)) value = former;
        former = value;
        if (this.#random.chance(0.02)) {
          value = this.#random.pick([null, Buffer.from('{'), Buffer.from([0xff]), Buffer.from('{"id":1}')]);
          this.poison++;
        }
        // Round and round, so that no partition holds the event clock back.
        messages.push({ partition: partition++ % PARTITIONS, value, key: Buffer.from(`key-${i}`) });
      }
      const visits = Array.from({ length: PARTITIONS }, (_, to) => ({
        partition: to,
        value: Buffer.from(JSON.stringify(this.#events.visit())),
      }));
      await producer.sendBatch({
        acks: -1,
        topicMessages: [
          { topic: this.#topics.payments, messages },
          { topic: this.#topics.visits, messages: visits },
        ],
      });
      load.produced += messages.length + visits.length;
      await delay(PRODUCER_PAUSE_MS);
    }
  }
}

const PARTITIONS = 4;

interface Topics {
  readonly payments: string;
  readonly visits: string;
}

/** States compacted so far, by this run of it; 0 where it does not answer. */
const compactedBy = (process_: SupervisedProcess): Promise<number> =>
  process_.metric('millrace_compaction_states_total', /outcome="compacted"/).catch(() => 0);

/** Kills, suspends and restarts servers and compactors, one after the other, until it is told to stop. */
async function disturb(
  random: SeededRandom,
  load: Load,
  processes: readonly SupervisedProcess[],
  isOver: () => boolean,
  say: (text: string) => void,
): Promise<void> {
  while (!isOver()) {
    await load.more(random.between(10, 60));
    const victim = random.pick(processes);
    const compacted = await compactedBy(victim);
    if (random.chance(0.4)) {
      say(`SIGSTOP ${victim.name}`);
      victim.signal('SIGSTOP');
      try {
        await load.more(random.between(20, 80));
      } finally {
        victim.signal('SIGCONT');
      }
    } else if (random.chance(0.2)) {
      say(`SIGTERM ${victim.name}`);
      load.compacted += compacted;
      expect(await victim.roll(), victim.output).toEqual({ code: 0, signal: null });
      await victim.ready();
    } else {
      say(`SIGKILL ${victim.name}`);
      load.compacted += compacted;
      await victim.crash();
      // Half of the time it is killed again while it starts.
      if (random.chance(0.5)) await victim.ready();
    }
  }
}

class Groups {
  readonly #admin: Admin;
  readonly #ids: readonly string[];

  constructor(admin: Admin, ids: readonly string[]) {
    this.#admin = admin;
    this.#ids = ids;
  }

  /** Waits until every group is balanced and has so many members. */
  async have(members: number): Promise<void> {
    let seen = '';
    await until(`the groups have ${members} members each`, async () => {
      const { groups } = await this.#admin.describeGroups([...this.#ids]);
      seen = groups.map((group) => `${group.groupId} ${group.state} ${group.members.length}`).join(', ');
      return groups.every((group) => group.state === 'Stable' && group.members.length === members);
    }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}; seen: ${seen}`);
    });
  }
}

/** Members of the groups: rolled, suspended for longer than their session, killed meanwhile, and woken as zombies. */
async function disturbIngest(
  random: SeededRandom,
  load: Load,
  ingest: readonly SupervisedProcess[],
  groups: Groups,
  say: (text: string) => void,
): Promise<void> {
  const rolled = random.pick(ingest);
  await load.more(random.between(10, 40));
  say(`SIGTERM ${rolled.name}`);
  expect(await rolled.roll(), rolled.output).toEqual({ code: 0, signal: null });
  await rolled.ready();
  await groups.have(2);

  const zombie = random.pick(ingest);
  const killed = ingest.find((process_) => process_ !== zombie)!;
  await load.more(random.between(10, 60));
  say(`SIGSTOP ${zombie.name}`);
  zombie.signal('SIGSTOP');
  try {
    await load.more(random.between(1, 30));
    say(`SIGKILL ${killed.name}`);
    await killed.crash();
    await killed.ready();
    await groups.have(1);
    await until('the partitions of the zombie are applied by somebody else', async () => {
      const applied = await killed.metric('millrace_events_applied_total', /outcome="applied"/);
      return applied > 0 && (await killed.metric('millrace_partitions_assigned')) === 2 * PARTITIONS;
    });
  } finally {
    zombie.signal('SIGCONT');
    say(`SIGCONT ${zombie.name}`);
  }
  await load.more(random.between(1, 20));
  await groups.have(2);
}

/** What the topics say, for the oracle. */
class Truth {
  readonly repo: CompiledRepo = compileRepo(Object.values(definitions));
  /** Entity key → events, by source. */
  readonly #events = new Map<string, OracleEvent[]>();
  readonly ids = new Set<string>();
  /** `partition/offset` of payments that are no events. */
  readonly unusable: string[] = [];
  lastMs = 0;
  total = 0;

  add(name: string, records: readonly TopicRecord[]): void {
    const source = this.repo.sources.get(name)!;
    const decode = decodeEvent(source);
    const stamps = new Set<string>();
    for (const { partition, offset, value, headers } of records) {
      const event = decode(parsed(value));
      if (!event.ok) {
        this.unusable.push(`${partition}/${offset}`);
        continue;
      }
      if (event.idText !== null) {
        if (this.ids.has(event.idText)) continue;
        this.ids.add(event.idText);
      }
      // The producer of pushed events may have written one twice.
      const stamp = headers['millrace-stamp'];
      if (stamp !== undefined && stamps.has(String(stamp))) continue;
      if (stamp !== undefined) stamps.add(String(stamp));
      this.total++;
      this.lastMs = Math.max(this.lastMs, event.eventTimeMs);
      const { row, eventTimeMs: timeMs } = event;
      const id = event.eventId ?? positionEventId(partition, offset);
      for (const column of ['card', 'shop']) {
        const key = row[column];
        if (typeof key === 'string') this.#of(name, column, key).push({ timeMs, id, row });
      }
    }
  }

  /** Features of a service as JSON. */
  features(service: string, key: string, atMs: number): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const { view, features } of this.repo.services.get(service)!.views) {
      const events = this.#of(view.source.name, view.definition.keyColumn, key);
      for (const feature of features) {
        const { column } = view.definition.features[feature.name]!;
        values[feature.name] = toJson(oracleValue({ view, feature, column, key, atMs, events }));
      }
    }
    return values;
  }

  #of(source: string, column: string, key: string): OracleEvent[] {
    const name = `${source}/${column}/${key}`;
    let events = this.#events.get(name);
    if (events === undefined) {
      events = [];
      this.#events.set(name, events);
    }
    return events;
  }
}

function parsed(value: Buffer | null): unknown {
  try {
    return JSON.parse(value!.toString());
  } catch {
    return undefined;
  }
}

interface Row {
  readonly features: Record<string, unknown>;
  readonly metadata: { readonly features: Record<string, { readonly status: string }> };
}

async function served(
  server: SupervisedProcess,
  service: string,
  keys: readonly string[],
  atMs: number,
): Promise<Row[]> {
  const rows = keys.map((key) => ({ entities: { [service]: key }, at: atMs }));
  const { status, body } = await postJson(`${server.url}/v1/services/${service}/features/batch`, {
    rows,
    metadata: true,
  });
  expect(status, JSON.stringify(body)).toBe(200);
  const answers = (body as { rows: Row[] }).rows;
  for (const answer of answers) if (answer.features === undefined) throw new Error(JSON.stringify(answer));
  return answers;
}

describeWithServices(['kafka', 'redis'], `roles that crash (TEST_SEED=${SEED})`, () => {
  let brokers: readonly string[];
  let redis: RedisServer;

  beforeAll(async () => {
    [brokers, redis] = await Promise.all([sharedServices().kafka(), startRedis({ appendonly: 'everysec' })]);
  }, 240_000);

  afterAll(() => redis?.stop());

  it('lose nothing and count nothing twice', { timeout: 240_000 }, async () => {
    const startedMs = performance.now();
    const log: string[] = [];
    const say = (text: string): void => {
      log.push(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${text}`);
    };
    onTestFinished(() => console.log(log.join('\n')));
    const prefix = `roles-${randomUUID()}`;
    const topics: Topics = { payments: `${prefix}.payments`, visits: `${prefix}.visits` };
    const shared = ['--features', fixture('roles'), '--kafka', brokers.join(','), '--redis', redis.url];
    shared.push('--redis-prefix', prefix.slice(0, 20), '--clock', 'event');
    shared.push('--create-topics', '--partitions', `${PARTITIONS}`);
    const start = (role: string, name: string): SupervisedProcess =>
      new SupervisedProcess(role, name, role === 'ingest' ? [...shared, '--group', prefix] : shared, {
        TEST_TOPICS: prefix,
      });
    const ingest = [start('ingest', 'ingest a'), start('ingest', 'ingest b')];
    const compact = [start('compact', 'compact a'), start('compact', 'compact b')];
    const serve = [start('serve', 'serve a'), start('serve', 'serve b')];
    const all = [...ingest, ...compact, ...serve];
    const kafka = kafkaClient(brokers);
    const admin = kafka.admin();
    onTestFinished(() => admin.disconnect());
    await admin.connect();
    await Promise.all(all.map((process_) => process_.ready()));
    const groups = new Groups(admin, [`${prefix}.payments`, `${prefix}.visits`]);
    await groups.have(2);
    say('six processes are ready');

    const random = new SeededRandom(SEED);
    const forLoad = new SeededRandom(random.uint32());
    const events = new Events(forLoad);
    const load = new Load(serve, events, forLoad);
    const producer = new Producer(topics, events, forLoad);
    const running = [...Array.from({ length: WRITERS }, () => load.write()), producer.run(load, brokers)];
    // What fails ends the load, and is thrown below.
    for (const part of running) part.catch(() => (load.stopped = true));
    let over = false;
    const disturbing = [
      disturb(
        new SeededRandom(random.uint32()),
        load,
        [...serve, ...compact],
        () => over || load.stopped,
        say,
      ),
      disturbIngest(new SeededRandom(random.uint32()), load, ingest, groups, say).finally(() => {
        over = true;
      }),
    ];
    await Promise.all(disturbing).finally(() => {
      load.stopped = true;
    });
    await Promise.all(running);
    say('no more disturbance');

    await Promise.all(all.map((process_) => process_.ready()));
    await groups.have(2);
    // By what each server says of itself: it has looked at the ends of the log since the load has stopped.
    for (const server of serve) {
      await until(`a push through ${server.name} is applied`, async () => {
        const push = { events: [{ ...events.payment(), card: 'last' }] };
        return (await postJson(`${server.url}/v1/sources/payments/events?wait=applied`, push)).status === 200;
      });
      await until(`${server.name} sees no lag`, async () => {
        return (await server.metric('millrace_consumer_lag_records')) === 0;
      });
    }
    for (const process_ of compact) load.compacted += await compactedBy(process_);
    const conflicts = await Promise.all(
      ingest.map((process_) => process_.metric('millrace_write_conflicts_total')),
    );
    say(`healed; ${load.compacted} states compacted, conflicts ${conflicts}`);

    const truth = new Truth();
    truth.add('payments', await readTopic(kafka, topics.payments));
    const letters = await readTopic(kafka, deadLetterTopic(topics.payments));
    const origins = letters.map(
      ({ headers }) => `${headers['millrace-partition']}/${headers['millrace-offset']}`,
    );
    expect(new Set(origins)).toEqual(new Set(truth.unusable));
    expect(truth.unusable.length).toBeGreaterThanOrEqual(producer.poison);
    truth.add('visits', await readTopic(kafka, topics.visits));
    for (const id of load.acknowledgedIds) if (!truth.ids.has(id)) throw new Error(`${id} was lost`);

    let compared = 0;
    for (const [s, server] of serve.entries()) {
      for (const atMs of [truth.lastMs, truth.lastMs - 17 * 60_000 - s]) {
        for (const [service, keys] of [
          ['card', [...CARDS, 'last', 'nobody']],
          ['shop', ['corner', 'mall', 'kiosk', 'nowhere']],
        ] as const) {
          const rows = await served(server, service, keys, atMs);
          for (const [i, key] of keys.entries()) {
            const { features, metadata } = rows[i]!;
            expect(features, `${service} ${key} at ${atMs}, TEST_SEED=${SEED}`).toEqual(
              truth.features(service, key, atMs),
            );
            for (const { status } of Object.values(metadata.features)) {
              expect(['present', 'empty']).toContain(status);
            }
            compared += Object.keys(features).length;
          }
        }
      }
    }
    say(
      `${compared} values equal the oracle's, of ${truth.total} events (${load.acknowledged} pushes ` +
        `acknowledged after ${load.retries} retries, ${load.produced} records produced, ${letters.length} dead letters)`,
    );
    expect(compared).toBeGreaterThan(300);
    expect(load.compacted).toBeGreaterThan(0);

    for (const exit of await Promise.all(all.map((process_) => process_.stop()))) {
      expect(exit).toEqual({ code: 0, signal: null });
    }
    expectNoDefects(all);
    const restarts = all.filter(({ askedForRestart }) => askedForRestart > 0);
    say(`all stopped; asked to be started again: ${restarts.map(({ name }) => name)}`);
  });
});
