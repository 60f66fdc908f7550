/**
 * Rebuild: a `millrace rebuild` process for each view, all at once, replays a topic that is full already into an empty
 * Redis. That is how long a lost store, or a view, takes to be there again: the recovery time.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { openBackend } from '../../distributed/backend.ts';
import { CONFIRM_AFTER_MS } from '../../distributed/rebuild.ts';
import { WallClock } from '../../engine/clock.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import { randomTokens } from '../../engine/store/random-tokens.ts';
import { PROTOCOL } from '../../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../../engine/tiles/tile-shape.ts';
import { PartitionWatermarks } from '../../ingest/partition-watermarks.ts';
import { startKafka, startRedis } from '../../services/index.ts';
import { untilApplied } from './applied.ts';
import { PARTITIONS, paymentEvents, paymentView } from './payment-events.ts';
import { cpuSeconds } from './process-cpu.ts';
import { type EmbeddedRebuild, rebuildEmbedded } from './rebuild-embedded.ts';
import type { PhaseReport } from './roles-report.ts';
import type { Scope } from './scope.ts';
import { BenchTopic } from './topic.ts';
import { median, PAYMENTS } from './writes.ts';

export interface RebuildBenchOptions {
  readonly seed: number;
  readonly events: number;
  /** Entity keys the events are spread over. */
  readonly keys: number;
  /** Rebuilt at once. */
  readonly views: number;
  readonly rounds: number;
  readonly onProgress: (text: string) => void;
}

const TOPIC = 'payments';
const BINARY = fileURLToPath(new URL('../../bin/millrace.js', import.meta.url));

interface Round {
  readonly perSecond: number;
  /** From the start of the process to its end, s. */
  readonly wholeSeconds: number;
  /** Per event and view: the processes, Redis. */
  readonly cpuUs: readonly number[];
}

export async function benchRebuild(options: RebuildBenchOptions, scope: Scope): Promise<PhaseReport> {
  const { seed, rounds, views, onProgress } = options;
  const keys = PARTITIONS * Math.ceil(options.keys / PARTITIONS);
  const events = Math.ceil(options.events / keys) * keys;
  onProgress(`rebuild: filling a topic with ${events} events …`);
  const kafka = await startKafka();
  scope.defer(() => kafka.stop());
  const { brokers } = kafka;
  const topic = await BenchTopic.create({ brokers, name: TOPIC, partitions: PARTITIONS, scope });
  await BenchTopic.create({ brokers, name: `${TOPIC}.dead_letters`, partitions: 1, scope });
  const source = paymentEvents({ seed, keys, startMs: Date.now() - events });
  await topic.fill(events, (i) => source.message(i));
  const done: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const one = await scope.run((inner) => rebuildRound({ brokers, events, views }, inner));
    done.push(one);
    onProgress(`rebuild: round ${round + 1} of ${rounds}: ${Math.round(one.perSecond)} events/s`);
  }
  onProgress('rebuild: the same on lmdb …');
  const embedded: EmbeddedRebuild[] = [];
  for (let round = 0; round < rounds; round++) {
    embedded.push(await scope.run((inner) => rebuildEmbedded({ events, views, source }, inner)));
  }
  const atOnce = views === 1 ? '' : `, ${views} views at once`;
  const cpu = [0, 1].map((i) => median(done.map(({ cpuUs }) => cpuUs[i]!)).toFixed(1)).join(' + ');
  const whole = median(done.map(({ wholeSeconds }) => wholeSeconds)).toFixed(1);
  return {
    rows: [
      {
        figure: `rebuild: millrace rebuild${atOnce}`,
        perSecond: median(done.map(({ perSecond }) => perSecond)),
        ...{ unit: 'events', percentiles: null, ratio: null, target: null },
      },
      {
        figure: `rebuild: embedded, lmdb${atOnce}`,
        perSecond: median(embedded.map(({ perSecond }) => perSecond)),
        ...{ unit: 'events', percentiles: null, ratio: null, target: null },
      },
    ],
    hot: [],
    notes: [
      `rebuild: a process for each view, an event counts in each; medians of ${rounds} rounds, from the first ` +
        'events applied to the last. From the start of the processes to their end, with joining their groups, switching and ' +
        `asking once more ${CONFIRM_AFTER_MS / 1000} s later: ${whole} s. CPU per event and view, process + Redis: ${cpu} µs.`,
      'rebuild, embedded: in this process, an event counts in each view; from the first request to the last switch ' +
        `(${median(embedded.map(({ wholeSeconds }) => wholeSeconds)).toFixed(1)} s). CPU per event and view: ` +
        `${median(embedded.map(({ cpuUs }) => cpuUs)).toFixed(1)} µs.`,
    ],
    facts: { rebuilt: `${events} events of ${keys} keys in ${PARTITIONS} partitions` },
  };
}

interface RoundOptions {
  readonly brokers: readonly string[];
  readonly events: number;
  readonly views: number;
}

async function rebuildRound({ brokers, events, views }: RoundOptions, scope: Scope): Promise<Round> {
  const redis = await startRedis({ appendonly: 'everysec' });
  scope.defer(() => redis.stop());
  const client = new Redis(redis.url);
  scope.defer(async () => client.disconnect());
  await beginViews({ brokers, views, redis: redis.url });
  const startedMs = performance.now();
  const workers = Array.from({ length: views }, (_, i) => {
    return startWorker({ view: paymentView(i), views, brokers, redis: redis.url }, scope);
  });
  // The processes end one after the other: what they took is read as long as they are there.
  const pids = [redis.pid, ...workers.map(({ pid }) => pid)];
  let before: readonly number[] = [];
  let latest: readonly number[] = [];
  const applied = untilApplied(client, events * views, {
    timeoutMs: 60_000 + 5 * events * views,
    onProgress: () => {
      latest = pids.map((pid, i) => Math.max(cpuSeconds(pid), latest[i] ?? 0) || (latest[i] ?? 0));
      if (before.length === 0) before = latest;
    },
  });
  const ended = Promise.all(workers.map((worker) => worker.ended));
  const { first, last } = await Promise.race([applied, ended.then(() => applied)]);
  await ended;
  const records = last.records - first.records;
  const [ofRedis, ...ofWorkers] = latest.map((seconds, i) => seconds - before[i]!);
  const perRecordUs = (seconds: number): number => (1e6 * seconds) / Math.max(1, records);
  return {
    perSecond: (records / Math.max(1, last.atMs - first.atMs)) * 1000,
    wholeSeconds: (performance.now() - startedMs) / 1000,
    cpuUs: [perRecordUs(ofWorkers.reduce((a, b) => a + b, 0)), perRecordUs(ofRedis!)],
  };
}

/** Writes what `ingest` does when it begins: without it a rebuild takes the store for one that nobody fills, and is refused. */
async function beginViews(of: {
  readonly brokers: readonly string[];
  readonly views: number;
  readonly redis: string;
}): Promise<void> {
  // Not before the command line has said what the package's name stands for.
  const { paymentService } = await import('./payment-service.ts');
  const repo = compileRepo([paymentService({ topic: TOPIC, views: of.views })]);
  const kafka = { brokers: [...of.brokers], clientId: 'millrace-bench' };
  const settings = { kafka, group: 'bench', createTopics: null, redis: { nodes: of.redis }, registry: null };
  const backend = await openBackend(settings, repo, new Set(['ingest']));
  try {
    const writing = {
      store: backend.writingStore!,
      clock: new WallClock(),
      shards: backend.shards,
      ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL, newToken: randomTokens() },
    };
    for (const source of repo.sources.values()) {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const watermarks = new PartitionWatermarks({ source, views: source.views, partition, writing });
        await watermarks.read(await backend.logInfo(source).identity(partition));
      }
    }
  } finally {
    await backend.close();
  }
}

interface WorkerOptions {
  readonly view: string;
  /** Of the repo. */
  readonly views: number;
  readonly brokers: readonly string[];
  readonly redis: string;
}

/** `ended` rejects where it has not switched. */
function startWorker(
  { view, views, brokers, redis }: WorkerOptions,
  scope: Scope,
): { readonly pid: number; readonly ended: Promise<void> } {
  const servers = ['--kafka', brokers.join(','), '--redis', redis];
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_'));
  const child = spawn(
    process.execPath,
    [BINARY, 'rebuild', '--view', view, '--features', PAYMENTS, ...servers],
    {
      env: { ...Object.fromEntries(own), BENCH_TOPIC: TOPIC, BENCH_VIEWS: String(views) },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  scope.defer(async () => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = once(child, 'close').then(() => {
    if (child.exitCode !== 0 || !output.includes('is read from its new state'))
      throw new Error(`it failed:\n${output}`);
  });
  // Reported where all are awaited.
  ended.catch(() => {});
  return { pid: child.pid!, ended };
}
