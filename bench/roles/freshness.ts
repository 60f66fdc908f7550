/**
 * Freshness: from the send of an event to Kafka until an answer of the serve process counts it, at a steady rate.
 *
 * Swipes of the card-fraud example are poured into a topic while `ingest`, `serve` and `compact` run as processes of
 * their own. Every now and then a swipe is of a customer nobody has seen before: a marker, whose payments are asked for
 * over HTTP until there is one.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import simulate from '../../examples/card-fraud/simulator.ts';
import { startKafka, startRedis } from '../../services/index.ts';
import { latencyHistogram, percentilesOf, recordMs } from '../latency.ts';
import { EngineProcess, type EngineSettings } from './engine-process.ts';
import { PARTITIONS } from './payment-events.ts';
import { CARD_FRAUD } from './reads.ts';
import type { PhaseReport } from './roles-report.ts';
import type { Scope } from './scope.ts';
import { BenchTopic, type EventMessage } from './topic.ts';

export interface FreshnessOptions {
  readonly engine: EngineSettings;
  readonly seed: number;
  readonly seconds: number;
  readonly ratePerSecond: number;
  readonly onProgress: (text: string) => void;
}

const TOPIC = 'card_transactions';
const SERVICE = '/v1/services/card_fraud/features';
/** Customers of the simulator are fewer. */
const FIRST_MARKER = 1_000_000_000;
const MARKER_EVERY_MS = 50;
const POLL_MS = 1;
/** A marker that is not visible by then fails the run. */
const VISIBLE_WITHIN_MS = 30_000;
/** The first second warms up. */
const WARM_UP_MS = 1_000;

export async function benchFreshness(options: FreshnessOptions, scope: Scope): Promise<PhaseReport> {
  const { engine, seed, seconds, ratePerSecond, onProgress } = options;
  onProgress('freshness: starting Kafka, Redis and three roles …');
  const kafka = await startKafka();
  scope.defer(() => kafka.stop());
  const redis = await startRedis({ appendonly: 'everysec' });
  scope.defer(() => redis.stop());
  const { brokers } = kafka;
  const common = { features: CARD_FRAUD, brokers, redis: redis.url };
  const topic = await BenchTopic.create({ brokers, name: TOPIC, partitions: PARTITIONS, scope });
  const [serve] = await Promise.all(
    (['serve', 'ingest', 'compact'] as const).map((role) =>
      EngineProcess.start(engine, { ...common, role }, scope),
    ),
  );
  const pool = new Pool(serve!.url, { connections: 64, pipelining: 1 });
  scope.defer(() => pool.close());

  const sides = {
    acknowledged: latencyHistogram(),
    fromSend: latencyHistogram(),
    fromAck: latencyHistogram(),
  };
  const swipes = simulate({ seed, startMs: Date.now(), ratePerSecond });
  const watched: Promise<void>[] = [];
  const every = Math.max(1, Math.round((ratePerSecond * MARKER_EVERY_MS) / 1000));
  const warmUps = (ratePerSecond * WARM_UP_MS) / 1000;
  let polls = 0;

  const watch = async (marker: number, sentMs: number, acknowledged: Promise<void>, counts: boolean) => {
    let ackMs = Number.POSITIVE_INFINITY;
    void acknowledged.then(
      () => {
        ackMs = performance.now();
      },
      () => {},
    );
    const body = JSON.stringify({ entities: { customer_id: marker, terminal_id: 0 } });
    for (;;) {
      const { statusCode, body: answer } = await pool.request({
        method: 'POST',
        path: SERVICE,
        headers: { 'content-type': 'application/json' },
        body,
      });
      const { features } = (await answer.json()) as { features?: Record<string, number | null> };
      // A refusal for now is not an answer: it is asked again, and the time counts.
      const refused = statusCode === 429 || statusCode === 503;
      if (statusCode !== 200 && !refused) throw new Error(`serve answered ${statusCode}`);
      polls++;
      const nowMs = performance.now();
      if (!refused && (features!.CUSTOMER_ID_NB_TX_1DAY_WINDOW ?? 0) > 0) {
        if (!counts) return;
        recordMs(sides.fromSend, nowMs - sentMs);
        // An answer can be here before the producer has heard of it.
        recordMs(sides.fromAck, Math.max(0, nowMs - ackMs));
        await acknowledged;
        recordMs(sides.acknowledged, ackMs - sentMs);
        return;
      }
      if (nowMs - sentMs > VISIBLE_WITHIN_MS)
        throw new Error(`an event is not visible after ${VISIBLE_WITHIN_MS} ms`);
      await delay(POLL_MS);
    }
  };

  onProgress(`freshness: ${ratePerSecond} events/s for ${seconds} s …`);
  const isMarker = (i: number): boolean => i % every === 0;
  const pouring = topic.pour({
    ratePerSecond,
    ms: WARM_UP_MS + seconds * 1000,
    message: (i): EventMessage => {
      const { data } = swipes.next().value;
      const customer = isMarker(i) ? FIRST_MARKER + i : Number(data.customer_id);
      const value = { ...data, customer_id: customer, tx_datetime: Date.now() };
      // Markers go to every partition in turn.
      const partition = isMarker(i) ? (i / every) % PARTITIONS : customer % PARTITIONS;
      return { partition, value: JSON.stringify(value) };
    },
    onSend: (from, count, acknowledged) => {
      const sentMs = performance.now();
      for (let i = from; i < from + count; i++) {
        if (isMarker(i)) watched.push(watch(FIRST_MARKER + i, sentMs, acknowledged, i >= warmUps));
      }
      // What fails is reported where it is awaited.
      for (const one of watched.slice(-count)) one.catch(() => {});
    },
  });
  const startedMs = performance.now();
  const events = await pouring;
  const tookS = (performance.now() - startedMs) / 1000;
  await Promise.all(watched);

  const row = (figure: string, histogram: ReturnType<typeof latencyHistogram>) => ({
    figure,
    perSecond: events / tookS,
    unit: 'events',
    percentiles: percentilesOf(histogram),
    ratio: null,
    target: null,
  });
  return {
    rows: [
      row('freshness: send → visible', sides.fromSend),
      row('freshness: acknowledged → visible', sides.fromAck),
      row('freshness: send → acknowledged', sides.acknowledged),
    ],
    hot: [],
    notes: [
      `freshness: ${sides.fromSend.totalCount} of the events were asked for over HTTP until they counted, each every ` +
        `${POLL_MS} ms and the time of an answer (${Math.round(polls / tookS)} reads/s in all), which is part of the figures; ` +
        `one producer, which sends what is due every 5 ms and waits for all replicas (one); serve, ingest and compact ` +
        `are a process each. Acknowledged → visible is 0 where the answer came first.`,
    ],
    facts: {},
  };
}
