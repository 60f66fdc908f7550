/**
 * A hot key: all events are of one key, in four partitions, so that every chunk of every partition writes one state.
 *
 * At full speed the events are put into the topic in one transaction, after the ingest processes have shared the
 * partitions: nobody has a head start. Conflicts and events are the processes' own counters; writes that won are
 * what Redis counts as HSETs, less the moves of watermarks.
 */
import { Redis } from 'ioredis';
import { startKafka, startRedis } from '../../services/index.ts';
import { waitUntil } from '../../services/process/wait-until.ts';
import { checkCounted, untilApplied } from './applied.ts';
import { EngineProcess, type EngineSettings } from './engine-process.ts';
import { PARTITIONS, payment } from './payment-events.ts';
import type { HotKeyRow, PhaseReport } from './roles-report.ts';
import type { Scope } from './scope.ts';
import { BenchTopic, type EventMessage } from './topic.ts';
import { PAYMENTS } from './writes.ts';

export interface HotKeyOptions {
  readonly engine: EngineSettings;
  /** At full speed. */
  readonly events: number;
  /** At the steady rate. */
  readonly seconds: number;
  readonly ratePerSecond: number;
  readonly onProgress: (text: string) => void;
}

const HOT_CARD = 'card-hot';

export async function benchHotKey(options: HotKeyOptions, scope: Scope): Promise<PhaseReport> {
  const { onProgress } = options;
  const kafka = await startKafka();
  scope.defer(() => kafka.stop());
  const hot: HotKeyRow[] = [];
  for (const load of ['full speed', 'steady'] as const) {
    for (const processes of [1, 2]) {
      const name = `hot key: ${load === 'steady' ? `${options.ratePerSecond} events/s` : load}`;
      onProgress(`${name}, ${processes} ingest process${processes === 1 ? '' : 'es'} …`);
      const run = { options, brokers: kafka.brokers, load, processes };
      hot.push({ figure: name, processes, ...(await scope.run((inner) => hotRun(run, inner))) });
    }
  }
  return {
    rows: [],
    hot,
    notes: [
      'hot key: one view, all events of one key in 4 partitions, one state for all of them. A conflict is a write ' +
        'that lost its compare-and-set and was merged again; per write: of all that were tried.',
    ],
    facts: {},
  };
}

async function hotRun(
  args: {
    readonly options: HotKeyOptions;
    readonly brokers: readonly string[];
    readonly load: 'full speed' | 'steady';
    readonly processes: number;
  },
  scope: Scope,
): Promise<Omit<HotKeyRow, 'figure' | 'processes'>> {
  const { options, brokers, load, processes } = args;
  const steady = load === 'steady';
  const redis = await startRedis({ appendonly: 'everysec' });
  scope.defer(() => redis.stop());
  const client = new Redis(redis.url);
  scope.defer(async () => client.disconnect());
  const name = `hot-${load.replace(' ', '-')}-${processes}`;
  const topic = await BenchTopic.create({
    ...{ brokers, name, scope },
    partitions: PARTITIONS,
    transactional: !steady,
  });
  const engines = await Promise.all(
    Array.from({ length: processes }, () =>
      EngineProcess.start(
        options.engine,
        { role: 'ingest', features: PAYMENTS, brokers, redis: redis.url, topic: name, group: name },
        scope,
      ),
    ),
  );
  await waitUntil(
    async () => {
      const assigned = await Promise.all(engines.map((one) => one.metric('millrace_partitions_assigned')));
      return assigned.every((count) => count === PARTITIONS / processes);
    },
    { what: 'partitions to be shared', timeoutMs: 60_000 },
  );
  const startMs = Date.now();
  const message = (i: number): EventMessage => ({
    partition: i % PARTITIONS,
    value: payment(i, HOT_CARD, steady ? Date.now() : startMs),
  });
  await client.config('RESETSTAT');
  let events = options.events;
  let rate: number;
  const timeoutMs = 60_000 + 10 * events;
  if (steady) {
    const pouredMs = performance.now();
    events = await topic.pour({ ratePerSecond: options.ratePerSecond, ms: options.seconds * 1000, message });
    const { last } = await untilApplied(client, events, { timeoutMs });
    rate = (events / (last.atMs - pouredMs)) * 1000;
  } else {
    await topic.fillAtOnce(events, message);
    // A marker of the transaction at the end of each partition.
    const { first, last } = await untilApplied(client, events + PARTITIONS, { timeoutMs });
    rate = ((last.records - first.records) / (last.atMs - first.atMs)) * 1000;
  }
  const sum = async (metric: string, labels?: string): Promise<number> => {
    const values = await Promise.all(engines.map((one) => one.metric(metric, labels)));
    return values.reduce((total, value) => total + value, 0);
  };
  await checkCounted(() => sum('millrace_events_applied_total', 'outcome="applied"'), events);
  const conflicts = await sum('millrace_write_conflicts_total');
  const stats = await client.info('commandstats');
  const calls = (command: string): number =>
    Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
  // A move of watermarks asks INFO twice, and writes one hash.
  const won = calls('hset') - calls('info') / 2;
  return {
    events,
    eventsPerSecond: rate,
    writes: won,
    conflicts,
    conflictsPerEvent: conflicts / events,
    conflictsPerWrite: conflicts / (conflicts + won),
  };
}
