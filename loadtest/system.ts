/** What is put under load: real processes of the engine, over a Kafka and a Redis of their own or embedded. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Pool } from 'undici';
import { untilApplied } from '../bench/roles/applied.ts';
import { EngineProcess, type EngineSettings } from '../bench/roles/engine-process.ts';
import type { Scope } from '../bench/roles/scope.ts';
import { BenchTopic } from '../bench/roles/topic.ts';
import { startKafka, startRedis, TcpProxy } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { pushEvents } from './push-events.ts';
import { REDIS_DELAY_MS, type Scenario } from './scenarios.ts';
import type { Scheduling } from './scheduling.ts';
import { eventText, type HistoryEvent, WORKLOADS, type Workload } from './workload.ts';

export const PARTITIONS = 4;

/** What `kafka-server-start.sh` gives it. With a quarter of that it stood still for its own garbage every few seconds. */
const KAFKA_HEAP_MB = 1_024;

/** Where a producer sends events. */
export type EventsTarget =
  | { readonly kind: 'kafka'; readonly brokers: readonly string[]; readonly topic: string }
  | { readonly kind: 'http'; readonly url: string };

export interface System {
  /** Where requests and pushes go. */
  readonly serve: EngineProcess;
  /** All there are, for CPU and memory. */
  readonly processes: readonly { readonly name: string; readonly pid: number }[];
  readonly events: EventsTarget;
  /** Of Redis, as `serve` reaches it; null where there is none. */
  readonly redis: string | null;
  /** Resolves when all of them are applied, and what they made due is compacted. */
  fill(events: Iterable<HistoryEvent>, count: number): Promise<void>;
  /** What Redis is like for `serve` from now on. */
  setRedis(state: 'healthy' | 'slow' | 'silent'): void;
}

export interface SystemOptions {
  readonly scenario: Scenario;
  readonly engine: EngineSettings;
  readonly scheduling: Scheduling;
  readonly onProgress: (text: string) => void;
}

const SAY_EVERY_MS = 5_000;
/** Before compaction has looked at what the last events made due. */
const SETTLE_MS = 1_000;
const PUSH_EVENTS = 1_000;
const PUSHES_AT_ONCE = 4;

const timeoutFor = (events: number): number => 120_000 + 5 * events;

export async function startRoles(options: SystemOptions, scope: Scope): Promise<System> {
  const { scenario, engine, scheduling, onProgress } = options;
  const workload = WORKLOADS[scenario.workload];
  onProgress('starting Kafka, Redis, ingest, compact and serve …');
  const kafka = await startKafka({ heapMb: KAFKA_HEAP_MB });
  scope.defer(() => kafka.stop());
  // Where a request is answered only when its event is recorded, it waits for Kafka.
  if (scenario.script === 'score-and-ingest') scheduling.first(kafka.pid);
  else scheduling.second(kafka.pid);
  const redis = await startRedis({ appendonly: 'everysec', unixSocket: true });
  scope.defer(() => redis.stop());
  scheduling.first(redis.pid);
  // Only where something happens to it: it costs time of its own.
  const proxy = scenario.degradedAllowed ? await TcpProxy.open(redis.port) : null;
  scope.defer(async () => proxy?.close());
  let redisState: 'healthy' | 'slow' | 'silent' = 'healthy';
  const { brokers } = kafka;
  const topic = await BenchTopic.create({ brokers, name: workload.source, partitions: PARTITIONS, scope });
  const { realtime } = scheduling;
  const common = { features: workload.features, brokers };
  const servedBy = proxy === null ? redis.socketUrl : `redis://127.0.0.1:${proxy.port}`;
  const [ingest, compact, serve] = await Promise.all([
    EngineProcess.start(engine, { ...common, role: 'ingest', redis: redis.socketUrl, realtime }, scope),
    EngineProcess.start(engine, { ...common, role: 'compact', redis: redis.socketUrl }, scope),
    EngineProcess.start(engine, { ...common, role: 'serve', redis: servedBy, realtime }, scope),
  ]);
  return {
    serve,
    processes: [
      { name: 'serve', pid: serve.pid },
      { name: 'ingest', pid: ingest.pid },
      { name: 'compact', pid: compact.pid },
      { name: 'Redis', pid: redis.pid },
      { name: 'Kafka', pid: kafka.pid },
    ],
    events: { kind: 'kafka', brokers, topic: workload.source },
    redis: servedBy,
    fill: async (events, count) => {
      const iterator = events[Symbol.iterator]();
      await topic.fill(count, () => {
        const event = iterator.next().value!;
        return { partition: partitionOf(event.draw.key), value: textOf(workload, event) };
      });
      const client = new Redis(redis.url);
      try {
        let saidMs = performance.now();
        await untilApplied(client, workload.views * count, {
          timeoutMs: timeoutFor(count),
          pollMs: 100,
          onProgress: ({ records, atMs }) => {
            if (atMs - saidMs < SAY_EVERY_MS) return;
            saidMs = atMs;
            onProgress(`history: ${Math.floor(records / workload.views)} of ${count} events applied`);
          },
        });
      } finally {
        client.disconnect();
      }
      await untilCompacted(compact, count);
    },
    setRedis: (state) => {
      if (proxy === null || state === redisState) return;
      if (redisState !== 'healthy') proxy.heal();
      // What was held is of requests that were given up long ago.
      if (redisState === 'silent') proxy.cut();
      // In each direction.
      if (state === 'slow') proxy.delay(REDIS_DELAY_MS / 2);
      else if (state === 'silent') proxy.hold();
      redisState = state;
    },
  };
}

export async function startEmbedded(options: SystemOptions, scope: Scope): Promise<System> {
  const { scenario, engine, scheduling, onProgress } = options;
  const workload = WORKLOADS[scenario.workload];
  onProgress('starting millrace up …');
  const dataDir = join(engine.directory, 'data');
  mkdirSync(dataDir);
  const up = await EngineProcess.start(
    engine,
    { role: 'up', features: workload.features, dataDir, realtime: scheduling.realtime },
    scope,
  );
  return {
    serve: up,
    processes: [{ name: 'up', pid: up.pid }],
    events: { kind: 'http', url: up.url },
    redis: null,
    fill: async (events, count) => {
      await pushAll(workload, up, events, (pushed) =>
        onProgress(`history: ${pushed} of ${count} events pushed`),
      );
      await waitUntil(
        // Unlike the events applied to views, this counts those that a view's filter leaves out.
        async () => (await up.metric('millrace_append_to_applied_seconds_count')) >= count,
        { what: 'application of the history', timeoutMs: timeoutFor(count) },
      );
      await untilCompacted(up, count);
    },
    setRedis: () => {},
  };
}

/** Whoever sends an event of a key sends it to this partition. */
export const partitionOf = (key: number): number => key % PARTITIONS;

const textOf = (workload: Workload, { id, atMs, draw }: HistoryEvent): string =>
  eventText(workload, id, atMs, draw);

async function untilCompacted(compact: EngineProcess, events: number): Promise<void> {
  await delay(SETTLE_MS);
  await waitUntil(async () => (await compact.metric('millrace_compaction_backlog_states')) === 0, {
    what: 'compaction of the history',
    timeoutMs: timeoutFor(events),
  });
}

async function pushAll(
  workload: Workload,
  up: EngineProcess,
  events: Iterable<HistoryEvent>,
  onPushed: (pushed: number) => void,
): Promise<void> {
  const pool = new Pool(up.url, { connections: PUSHES_AT_ONCE });
  const iterator = events[Symbol.iterator]();
  let pushed = 0;
  let saidMs = performance.now();
  const loop = async (): Promise<void> => {
    for (;;) {
      const lines: string[] = [];
      while (lines.length < PUSH_EVENTS) {
        const next = iterator.next();
        if (next.done) break;
        lines.push(textOf(workload, next.value));
      }
      if (lines.length === 0) return;
      await pushEvents(pool, workload.source, lines);
      pushed += lines.length;
      if (performance.now() - saidMs < SAY_EVERY_MS) continue;
      saidMs = performance.now();
      onPushed(pushed);
    }
  };
  try {
    await Promise.all(Array.from({ length: PUSHES_AT_ONCE }, loop));
  } finally {
    await pool.close();
  }
}
