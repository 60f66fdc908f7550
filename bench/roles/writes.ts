/**
 * Writes: one `millrace ingest` process applies a topic that is full already, against a bare loop over the same topic.
 * Every side of every round is a process and a Redis of its own. What counts is the time from the first records applied
 * to the last: neither the start of the process nor the join of its consumer group.
 */
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { startKafka, startRedis } from '../../services/index.ts';
import { ratioOf } from '../report.ts';
import { Worker } from '../worker.ts';
import { checkCounted, type Progress, untilApplied } from './applied.ts';
import type { BareWriterAnswer, BareWriterOrder, FieldBytes } from './bare-writer.ts';
import { EngineProcess, type EngineSettings, NODE_FLAGS } from './engine-process.ts';
import { PARTITIONS, paymentEvents } from './payment-events.ts';
import { CpuMeter } from './process-cpu.ts';
import type { PhaseReport } from './roles-report.ts';
import type { Scope } from './scope.ts';
import { BenchTopic } from './topic.ts';

export interface WriteOptions {
  readonly engine: EngineSettings;
  readonly seed: number;
  /** Events in the topic, over half as many keys. */
  readonly events: number;
  readonly rounds: number;
  readonly onProgress: (text: string) => void;
}

export const PAYMENTS = fileURLToPath(new URL('./payments', import.meta.url));
const TOPIC = 'payments';
const SAMPLED_STATES = 100;

interface Round {
  readonly perSecond: number;
  /** Of the second half, where every key has a state. */
  readonly laterPerSecond: number;
  /** Per event: the process, Redis. */
  readonly cpuUs: readonly number[];
}

type States = readonly [FieldBytes, FieldBytes];

export async function benchWrites(options: WriteOptions, scope: Scope): Promise<PhaseReport> {
  const { seed, rounds, onProgress } = options;
  const keys = PARTITIONS * Math.ceil(options.events / 2 / PARTITIONS);
  const events = 2 * keys;
  onProgress(`write: filling a topic with ${events} events …`);
  const kafka = await startKafka();
  scope.defer(() => kafka.stop());
  const { brokers } = kafka;
  const topic = await BenchTopic.create({ brokers, name: TOPIC, partitions: PARTITIONS, scope });
  const source = paymentEvents({ seed, keys, startMs: Date.now() - events });
  await topic.fill(events, (i) => source.message(i));

  const sides: Record<'millrace' | 'bare', Round[]> = { millrace: [], bare: [] };
  let states: States | null = null;
  for (let round = 0; round < rounds; round++) {
    const ours = await scope.run((inner) => ingestRound({ options, brokers, events, round }, inner));
    states ??= ours.states;
    sides.millrace.push(ours);
    const theirs = await scope.run((inner) => bareRound({ brokers, events, states: states! }, inner));
    sides.bare.push(theirs);
    onProgress(
      `write: round ${round + 1} of ${rounds}: ${Math.round(ours.perSecond)}/s, bare ${Math.round(theirs.perSecond)}/s`,
    );
  }
  const ratesOf = (side: readonly Round[]): number[] => side.map(({ perSecond }) => perSecond);
  const medianRate = median(ratesOf(sides.millrace));
  const toBare = ratioOf(ratesOf(sides.millrace), ratesOf(sides.bare));
  const row = { unit: 'updates', percentiles: null, ratio: null, target: null } as const;
  const bytesOf = (fields: FieldBytes): string =>
    Object.entries(fields)
      .map(([name, bytes]) => `${name} ${bytes}`)
      .join(' + ');
  const cpuOf = (side: readonly Round[]): string =>
    [0, 1].map((i) => median(side.map(({ cpuUs }) => cpuUs[i]!)).toFixed(1)).join(' + ');
  return {
    rows: [
      {
        ...row,
        figure: 'write: millrace ingest',
        perSecond: medianRate,
        target: { text: '≥ 20,000/s', met: medianRate >= 20_000 },
      },
      {
        ...row,
        figure: 'write: bare kafkajs and ioredis',
        perSecond: median(ratesOf(sides.bare)),
        ratio: toBare,
        target: { text: 'ratio ≥ 0.6', met: toBare.median >= 0.6 },
      },
    ],
    hot: [],
    notes: [
      `write: one process of each; medians of ${rounds} rounds; one view, one event per update, no key twice in a ` +
        `chunk; ${keys} keys are made and then updated once. The second half alone: millrace ` +
        `${Math.round(median(sides.millrace.map((one) => one.laterPerSecond)))}/s, bare ` +
        `${Math.round(median(sides.bare.map((one) => one.laterPerSecond)))}/s. CPU per update, process + Redis: ` +
        `millrace ${cpuOf(sides.millrace)} µs, bare ${cpuOf(sides.bare)} µs.`,
      `write: the bare loop gets and sets as many bytes per field (${bytesOf(states![0])} for a key's first event, ` +
        `${bytesOf(states![1])} for its second), 256 keys at a time, comparing tokens, without due index or watermarks.`,
    ],
    facts: { writes: `${events} events of ${keys} keys in ${PARTITIONS} partitions` },
  };
}

async function ingestRound(
  args: {
    readonly options: WriteOptions;
    readonly brokers: readonly string[];
    readonly events: number;
    readonly round: number;
  },
  scope: Scope,
): Promise<Round & { readonly states: States }> {
  const { options, brokers, events, round } = args;
  const redis = await startRedis({ appendonly: 'everysec' });
  scope.defer(() => redis.stop());
  const client = new Redis(redis.url);
  scope.defer(async () => client.disconnect());
  let early: FieldBytes | null = null;
  let half: Progress | null = null;
  const engine = await EngineProcess.launch(
    options.engine,
    { role: 'ingest', features: PAYMENTS, brokers, redis: redis.url, topic: TOPIC, group: `round-${round}` },
    scope,
  );
  const cpu = new CpuMeter([engine.pid, redis.pid]);
  let begun = false;
  const { first, last } = await untilApplied(client, events, {
    timeoutMs: 60_000 + 5 * events,
    onProgress: async (progress) => {
      if (!begun) cpu.start();
      begun = true;
      // Before any key has its second event.
      if (round === 0) early ??= await fieldBytes(client);
      if (progress.records >= events / 2) half ??= progress;
    },
  });
  cpu.stop();
  const rate = (from: Progress): number =>
    ((last.records - from.records) / Math.max(1, last.atMs - from.atMs)) * 1000;
  const late = await fieldBytes(client);
  await engine.ready();
  await checkApplied(engine, events);
  return {
    perSecond: rate(first),
    laterPerSecond: rate(half!),
    cpuUs: cpu.seconds.map((seconds) => (1e6 * seconds) / (last.records - first.records)),
    states: [early ?? late, late],
  };
}

async function bareRound(
  args: { readonly brokers: readonly string[]; readonly events: number; readonly states: States },
  scope: Scope,
): Promise<Round> {
  const { brokers, events, states } = args;
  const redis = await startRedis({ appendonly: 'everysec' });
  scope.defer(() => redis.stop());
  const bare = new Worker<BareWriterOrder, BareWriterAnswer>(
    new URL('./bare-writer.ts', import.meta.url),
    NODE_FLAGS,
  );
  scope.defer(() => bare.close());
  const written = await bare.order(
    {
      ...{ kind: 'write', brokers, topic: TOPIC, events, partitions: PARTITIONS, states },
      ...{ redis: redis.url, redisPid: redis.pid },
    },
    'written',
  );
  const rate = (of: { readonly events: number; readonly ms: number }): number =>
    (of.events / Math.max(1, of.ms)) * 1000;
  return {
    perSecond: rate(written),
    laterPerSecond: rate(written.later),
    cpuUs: written.cpuSeconds.map((seconds) => (1e6 * seconds) / written.events),
  };
}

const checkApplied = (engine: EngineProcess, events: number): Promise<void> =>
  checkCounted(() => engine.metric('millrace_events_applied_total', 'outcome="applied"'), events);

/** Mean bytes of the fields of some states. */
async function fieldBytes(redis: Redis): Promise<FieldBytes> {
  const [, keys] = await redis.scan(0, 'MATCH', 'mr:*:s:*', 'COUNT', 2 * SAMPLED_STATES);
  const sums = new Map<string, number>();
  for (const key of keys) {
    for (const [field, value] of Object.entries(await redis.hgetallBuffer(key))) {
      sums.set(field, (sums.get(field) ?? 0) + value.length);
    }
  }
  return Object.fromEntries([...sums].map(([field, sum]) => [field, Math.round(sum / keys.length)]));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
