/**
 * Reads: `card_fraud` over HTTP from a `millrace serve` process, against a bare fastify route that gets the same bytes
 * from the same Redis.
 *
 * 1. Sixty days of swipes go through a topic, `millrace ingest` and `millrace compact`; both end before anything is
 *    measured. The clock follows the events, so that states have the age and the tiles they would have in service.
 * 2. The questions are asked in this process too, through a store that notes what is asked for and found; answers must
 *    be those of the serve process.
 * 3. Closed loop, in turns: the engine, and the bare route with the fields present and with all fields asked for.
 * 4. Open loop, in turns: the engine and the bare route with the fields present.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import simulate from '../../examples/card-fraud/simulator.ts';
import { startKafka, startRedis } from '../../services/index.ts';
import { waitUntil } from '../../services/process/wait-until.ts';
import { CONCURRENCY, type LoadClient, loadClient } from '../http-reads.ts';
import { type Percentiles, Side } from '../latency.ts';
import { ratioOf } from '../report.ts';
import { Worker } from '../worker.ts';
import { untilApplied } from './applied.ts';
import type { BarePlan, BareReaderAnswer, BareReaderOrder, StateFields } from './bare-reader.ts';
import { EngineProcess, type EngineSettings, NODE_FLAGS } from './engine-process.ts';
import { PARTITIONS } from './payment-events.ts';
import { type Entities, planQuestions } from './plan-questions.ts';
import { CpuMeter } from './process-cpu.ts';
import type { PhaseReport, RolesRow } from './roles-report.ts';
import type { Scope } from './scope.ts';
import { BenchTopic, type EventMessage } from './topic.ts';

export interface ReadOptions {
  /** examples/card-fraud, compiled. */
  readonly repo: CompiledRepo;
  readonly engine: EngineSettings;
  readonly seed: number;
  /** Events of the history. */
  readonly events: number;
  /** Measuring time of each side of each figure. */
  readonly seconds: number;
  readonly rounds: number;
  readonly questions: number;
  /** Requests per second of the open loop. */
  readonly ratePerSecond: number;
  readonly onProgress: (text: string) => void;
}

export const CARD_FRAUD = fileURLToPath(new URL('../../examples/card-fraud', import.meta.url));
const SERVICE = 'card_fraud';
const TOPIC = 'card_transactions';
const START_MS = Date.UTC(2025, 0, 1);
const HISTORY_DAYS = 60;
const DAY_MS = 86_400_000;
/** As in the published data set that the features are from: two payments a day, half as many customers as terminals. */
const EVENTS_PER_CUSTOMER = 2 * HISTORY_DAYS;
const TERMINALS_PER_CUSTOMER = 2;
/** A step of the message to the bare reader. */
const PLANS_PER_ORDER = 200;

type Question = { readonly entities: Entities; readonly body: string };

export async function benchReads(options: ReadOptions, scope: Scope): Promise<PhaseReport> {
  const { onProgress, engine, seconds, rounds, ratePerSecond } = options;
  onProgress('read: starting Kafka and Redis …');
  const kafka = await startKafka();
  scope.defer(() => kafka.stop());
  const redis = await startRedis({ appendonly: 'everysec' });
  scope.defer(() => redis.stop());
  const client = new Redis(redis.url);
  scope.defer(async () => client.disconnect());
  const common = { features: CARD_FRAUD, brokers: kafka.brokers, redis: redis.url, clock: 'event' } as const;

  const questions = await scope.run((inner) => preload(options, common, client, inner));
  const serve = await EngineProcess.start(engine, { ...common, role: 'serve' }, scope);
  const { plans, checksum } = await planQuestions(
    {
      repo: options.repo,
      service: SERVICE,
      questions: questions.map(({ entities }) => entities),
      serve,
      redis: redis.url,
    },
    scope,
  );
  const bare = new Worker<BareReaderOrder, BareReaderAnswer>(
    new URL('./bare-reader.ts', import.meta.url),
    NODE_FLAGS,
  );
  scope.defer(() => bare.close());
  await bare.order({ kind: 'connect', redis: redis.url }, 'done');
  for (let at = 0; at < plans.length; at += PLANS_PER_ORDER) {
    await bare.order({ kind: 'add', plans: plans.slice(at, at + PLANS_PER_ORDER) }, 'done');
  }
  const { origin } = await bare.order({ kind: 'listen' }, 'listens');

  const load = loadClient();
  scope.defer(() => load.close());
  const bodies = questions.map(({ body }) => body);
  await load.order({ kind: 'start', bodies, concurrency: CONCURRENCY }, 'done');
  const side = (name: string, pid: number, base: string, path: string): Measured =>
    new Measured(load, name, [pid, redis.pid], base, path);
  const sides = {
    millrace: side('millrace', serve.pid, serve.url, `/v1/services/${SERVICE}/features`),
    present: side('bare', bare.pid, origin, '/present'),
    asked: side('bare, asked', bare.pid, origin, '/asked'),
  };

  onProgress(`read: closed loop, ${CONCURRENCY} in flight, ${3 * seconds} s in ${rounds} rounds …`);
  const all = Object.values(sides);
  await inTurns(all, rounds, (1000 * seconds) / rounds, null);
  const closed = {
    millrace: await sides.millrace.report(),
    present: await sides.present.report(),
    asked: await sides.asked.report(),
  };
  onProgress(`read: open loop, ${ratePerSecond} requests/s, ${2 * seconds} s in ${rounds} rounds …`);
  for (const one of all) one.forget();
  await inTurns([sides.millrace, sides.present], rounds, (1000 * seconds) / rounds, ratePerSecond);
  const paced = { millrace: await sides.millrace.report(), present: await sides.present.report() };

  const row = (figure: string, of: SideReport, more: Partial<RolesRow> = {}): RolesRow => ({
    figure,
    perSecond: of.perSecond,
    unit: 'reads',
    percentiles: of.percentiles,
    ratio: null,
    target: null,
    ...more,
  });
  const toPresent = ratioOf(closed.millrace.rates, closed.present.rates);
  const mean = (of: (plan: BarePlan) => number): number =>
    plans.reduce((sum, plan) => sum + of(plan), 0) / plans.length;
  const fieldsOf = (states: readonly StateFields[]): number =>
    states.reduce((sum, { fields }) => sum + fields.length, 0);
  const open = `${ratePerSecond}/s`;
  return {
    rows: [
      row('read: millrace serve', closed.millrace),
      row('read: bare, fields present', closed.present, {
        ratio: toPresent,
        target: { text: 'ratio ≥ 0.6', met: toPresent.median >= 0.6 },
      }),
      row('read: bare, fields asked for', closed.asked, {
        ratio: ratioOf(closed.millrace.rates, closed.asked.rates),
      }),
      row(`read at ${open}: millrace serve`, paced.millrace, {
        target: { text: 'p99 < 10 ms', met: paced.millrace.percentiles.p99Us < 10_000 },
      }),
      row(`read at ${open}: bare, fields present`, paced.present),
    ],
    hot: [],
    notes: [
      `read: a request asks for ${mean(({ asked }) => fieldsOf(asked)).toFixed(1)} fields of ` +
        `${mean(({ asked }) => asked.length).toFixed(1)} states and finds ` +
        `${mean(({ present }) => fieldsOf(present)).toFixed(1)} of them, ` +
        `${Math.round(mean(({ bytes }) => bytes!))} bytes (at most ${Math.max(...plans.map((plan) => plan.bytes!))}); ` +
        `answers of ${Math.round(closed.millrace.bytesPerAnswer)} against ${Math.round(closed.present.bytesPerAnswer)} bytes.`,
      `read: CPU per request, server + Redis: millrace ${cpuText(closed.millrace)}, bare with the fields present ` +
        `${cpuText(closed.present)}, with those asked for ${cpuText(closed.asked)}.`,
      `read at ${open}: latencies count from the time a request was to be sent at; the client sent p50 ` +
        `${paced.millrace.lateness.p50Us.toFixed(0)} µs, p99 ${paced.millrace.lateness.p99Us.toFixed(0)} µs late ` +
        `(bare: ${paced.present.lateness.p50Us.toFixed(0)}, ${paced.present.lateness.p99Us.toFixed(0)}), which is part of them.`,
      `read: millrace refused ${closed.millrace.refused} times for now with ${CONCURRENCY} in flight, ${paced.millrace.refused} times at ` +
        `${open}; each was asked again, and the time counts.`,
    ],
    facts: {
      history: `${options.events} events in ${HISTORY_DAYS} days, ${customersOf(options)} customers, compacted`,
      'read checksum': `${checksum} (${questions.length} questions)`,
    },
  };
}

const cpuText = ({ cpuUs: [server, redis] }: SideReport): string =>
  `${server!.toFixed(0)} + ${redis!.toFixed(0)} µs`;

const customersOf = ({ events }: ReadOptions): number =>
  Math.max(10, Math.round(events / EVENTS_PER_CUSTOMER));

/** Fills Redis through the engine; returns questions about what is in it. */
async function preload(
  options: ReadOptions,
  common: {
    readonly features: string;
    readonly brokers: readonly string[];
    readonly redis: string;
    readonly clock: 'event';
  },
  redis: Redis,
  scope: Scope,
): Promise<Question[]> {
  const { seed, events, engine, repo, onProgress } = options;
  const customers = customersOf(options);
  const swipes = simulate({
    seed,
    startMs: START_MS,
    ratePerSecond: events / ((HISTORY_DAYS * DAY_MS) / 1000),
    customers,
    terminals: customers * TERMINALS_PER_CUSTOMER,
  });
  const topic = await BenchTopic.create({
    brokers: common.brokers,
    name: TOPIC,
    partitions: PARTITIONS,
    scope,
  });
  await EngineProcess.start(engine, { ...common, role: 'ingest' }, scope);
  const compact = await EngineProcess.start(engine, { ...common, role: 'compact' }, scope);
  const startedMs = performance.now();
  await topic.fill(events, (): EventMessage => {
    const { data } = swipes.next().value;
    return { partition: Number(data.customer_id) % PARTITIONS, value: JSON.stringify(data) };
  });
  const views = repo.sources.get(TOPIC)!.views.length;
  let saidMs = startedMs;
  await untilApplied(redis, views * events, {
    timeoutMs: 60_000 + events * 5,
    pollMs: 200,
    onProgress: ({ records, atMs }) => {
      if (atMs - saidMs < 5_000) return;
      saidMs = atMs;
      onProgress(`read: ${Math.floor(records / views)} of ${events} events applied`);
    },
  });
  await delay(1_000);
  await waitUntil(async () => (await compact.metric('millrace_compaction_backlog_states')) === 0, {
    what: 'compaction of the history',
    timeoutMs: 60_000 + events * 2,
  });
  const compacted = await compact.metric('millrace_compaction_states_total', 'outcome="compacted"');
  await waitUntil(async () => (await redis.info('persistence')).includes('aof_rewrite_in_progress:0'), {
    what: 'the rewrite of the append-only file',
    timeoutMs: 60_000,
  });
  const tookS = ((performance.now() - startedMs) / 1000).toFixed(1);
  onProgress(`read: ${events} events applied and ${compacted} states compacted in ${tookS} s`);
  return Array.from({ length: options.questions }, () => {
    const { customer_id, terminal_id } = swipes.next().value.data;
    const entities = { customer_id: customer_id!, terminal_id: terminal_id! };
    return { entities, body: JSON.stringify({ entities }) };
  });
}

/** The first turn of each warms up. */
async function inTurns(
  sides: readonly Measured[],
  rounds: number,
  roundMs: number,
  ratePerSecond: number | null,
): Promise<void> {
  for (let round = -1; round < rounds; round++) {
    for (const side of sides) await side.round(roundMs, ratePerSecond);
    if (round === -1) for (const side of sides) await side.forgetAll();
  }
}

interface SideReport {
  readonly perSecond: number;
  readonly rates: readonly number[];
  readonly percentiles: Percentiles;
  readonly lateness: Percentiles;
  /** Answers 429 and 503 until now, each asked again. */
  readonly refused: number;
  readonly bytesPerAnswer: number;
  /** Per request: the server, Redis. */
  readonly cpuUs: readonly number[];
}

class Measured {
  readonly #load: LoadClient;
  readonly #pids: readonly number[];
  readonly #target: { readonly side: string; readonly origin: string; readonly path: string };
  #side = new Side();
  #cpu: CpuMeter;
  #requests = 0;
  #bytes = 0;

  constructor(load: LoadClient, side: string, pids: readonly number[], origin: string, path: string) {
    this.#load = load;
    this.#pids = pids;
    this.#target = { side, origin, path };
    this.#cpu = new CpuMeter(pids);
  }

  async round(ms: number, ratePerSecond: number | null): Promise<void> {
    this.#cpu.start();
    const order =
      ratePerSecond === null
        ? ({ kind: 'run', ms, ...this.#target } as const)
        : ({ kind: 'pace', ratePerSecond, ms, ...this.#target } as const);
    const { requests, seconds, bytes } = await this.#load.order(order, 'ran');
    this.#cpu.stop();
    this.#side.endRound(requests, seconds);
    this.#requests += requests;
    this.#bytes += bytes;
  }

  /** Also what the client remembers, of all sides. */
  async forgetAll(): Promise<void> {
    this.forget();
    await this.#load.order({ kind: 'forget' }, 'done');
  }

  forget(): void {
    this.#side = new Side();
    this.#cpu = new CpuMeter(this.#pids);
    this.#requests = 0;
    this.#bytes = 0;
  }

  async report(): Promise<SideReport> {
    const { percentiles, lateness, refused } = await this.#load.order(
      { kind: 'report', side: this.#target.side },
      'report',
    );
    return {
      perSecond: this.#side.perSecond,
      rates: this.#side.rates,
      percentiles,
      lateness,
      refused,
      bytesPerAnswer: this.#bytes / this.#requests,
      cpuUs: this.#cpu.seconds.map((cpu) => (1e6 * cpu) / this.#requests),
    };
  }
}
