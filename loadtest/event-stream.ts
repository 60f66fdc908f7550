/**
 * Events beside the requests of k6, a process of its own: a producer at a steady rate, and a prober that asks for some of
 * its events until an answer counts them. Through Kafka, or pushed to an embedded engine.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { latencyHistogram, type Percentiles, percentilesOf, recordMs } from '../bench/latency.ts';
import { Scope } from '../bench/roles/scope.ts';
import { BenchTopic } from '../bench/roles/topic.ts';
import { obeyOrders } from '../bench/worker.ts';
import { pushEvents } from './push-events.ts';
import { type EventsTarget, PARTITIONS, partitionOf } from './system.ts';
import { eventText, FIRST_ID, WORKLOADS, type WorkloadName } from './workload.ts';

export type StreamOrder =
  | {
      readonly kind: 'connect';
      readonly workload: WorkloadName;
      readonly target: EventsTarget;
      /** Where markers are asked for. */
      readonly serve: string;
      readonly seed: number;
      readonly keys: number;
    }
  | { readonly kind: 'stream'; readonly ratePerSecond: number; readonly seconds: number };

export type StreamAnswer =
  | { readonly kind: 'connected' }
  | {
      readonly kind: 'streamed';
      readonly events: number;
      readonly perSecond: number;
      /** From the acknowledgement of a marker until an answer counts it. */
      readonly freshness: Percentiles;
      readonly markers: number;
    };

const MARKER_EVERY_MS = 100;
/** Markers of the first seconds warm up. */
const WARM_UP_MS = 5_000;
/** Less than a tenth of what events may take to be visible; more often would be a load of its own. */
const POLL_MS = { kafka: 8, http: 2 };
/** From the sending on: hardly any is visible before, and what is counts as visible then. */
const FIRST_POLL_MS = { kafka: 16, http: 0 };
/** A marker that is not visible by then fails the run. */
const VISIBLE_WITHIN_MS = 60_000;
const PUSH_TICK_MS = 10;

interface Message {
  readonly partition: number;
  readonly value: string;
}

/** Sends what is due, again and again; `onSend` hears of each batch, and of its acknowledgement. */
type Pour = (args: {
  readonly ratePerSecond: number;
  readonly ms: number;
  readonly message: (i: number) => Message;
  readonly onSend: (from: number, count: number, acknowledged: Promise<void>) => void;
}) => Promise<number>;

const scope = new Scope();
let connection: { readonly order: Extract<StreamOrder, { kind: 'connect' }>; readonly pour: Pour } | null =
  null;

async function connect(order: Extract<StreamOrder, { kind: 'connect' }>): Promise<StreamAnswer> {
  const { target } = order;
  if (target.kind === 'kafka') {
    // It is there already.
    const topic = await BenchTopic.create({
      ...{ brokers: target.brokers, name: target.topic, partitions: PARTITIONS, scope },
    });
    connection = { order, pour: (args) => topic.pour(args) };
  } else {
    const pool = new Pool(target.url, { connections: 16 });
    const { source } = WORKLOADS[order.workload];
    connection = { order, pour: (args) => pourOverHttp(pool, source, args) };
  }
  return { kind: 'connected' };
}

/** At a steady rate, whatever the engine does: pushes do not wait for one another. */
async function pourOverHttp(pool: Pool, source: string, args: Parameters<Pour>[0]): Promise<number> {
  const { ratePerSecond, ms, message, onSend } = args;
  const total = Math.floor((ratePerSecond * ms) / 1000);
  const startedMs = performance.now();
  const pushes: Promise<void>[] = [];
  let sent = 0;
  while (sent < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1000) * ratePerSecond));
    if (due > sent) {
      const from = sent;
      const lines = Array.from({ length: due - from }, (_, i) => message(from + i).value);
      const pushed = pushEvents(pool, source, lines);
      onSend(from, due - from, pushed);
      // Reported where all are awaited.
      pushed.catch(() => {});
      pushes.push(pushed);
      sent = due;
    }
    await delay(PUSH_TICK_MS);
  }
  await Promise.all(pushes);
  return total;
}

async function stream({
  ratePerSecond,
  seconds,
}: Extract<StreamOrder, { kind: 'stream' }>): Promise<StreamAnswer> {
  const { order, pour } = connection!;
  const workload = WORKLOADS[order.workload];
  const pool = new Pool(order.serve, { connections: 32, pipelining: 1 });
  const freshness = latencyHistogram();
  const next = workload.draws(order.seed + 1, order.keys);
  const every = Math.max(1, Math.round((ratePerSecond * MARKER_EVERY_MS) / 1000));
  const isMarker = (i: number): boolean => i % every === 0;
  // Runs that are shorter have no more to count than what they have.
  const warmUps = (ratePerSecond * Math.min(WARM_UP_MS, 250 * seconds)) / 1000;
  const watched: Promise<void>[] = [];

  const watch = async (i: number, acknowledged: Promise<void>): Promise<void> => {
    const { draw, feature } = workload.marker(i);
    const request = {
      method: 'POST',
      path: `/v1/services/${workload.service}/features`,
      headers: { 'content-type': 'application/json' },
      body: `{"entities":${draw.entities},"features":["${feature}"]}`,
    } as const;
    const sentMs = performance.now();
    let ackMs = Number.POSITIVE_INFINITY;
    void acknowledged.then(
      () => {
        ackMs = performance.now();
      },
      () => {},
    );
    await delay(FIRST_POLL_MS[order.target.kind]);
    for (;;) {
      const { statusCode, body } = await pool.request(request);
      const text = await body.text();
      const nowMs = performance.now();
      // A refusal for now is not an answer.
      const refused = statusCode === 429 || statusCode === 503;
      if (statusCode !== 200 && !refused) throw new Error(`a marker was answered ${statusCode}: ${text}`);
      if (!refused && Number((JSON.parse(text) as Features).features[feature] ?? 0) > 0) {
        await acknowledged;
        // An answer can be here before the producer has heard of it.
        if (i >= warmUps) recordMs(freshness, Math.max(0, nowMs - ackMs));
        return;
      }
      if (nowMs - sentMs > VISIBLE_WITHIN_MS)
        throw new Error(`an event is not visible after ${VISIBLE_WITHIN_MS} ms`);
      await delay(POLL_MS[order.target.kind]);
    }
  };

  const startedMs = performance.now();
  const events = await pour({
    ratePerSecond,
    ms: 1000 * seconds,
    message: (i) => {
      const draw = isMarker(i) ? workload.marker(i).draw : next();
      return {
        // Markers go to every partition in turn.
        partition: isMarker(i) ? (i / every) % PARTITIONS : partitionOf(draw.key),
        value: eventText(workload, (isMarker(i) ? FIRST_ID.prober : FIRST_ID.producer) + i, Date.now(), draw),
      };
    },
    onSend: (from, count, acknowledged) => {
      for (let i = from; i < from + count; i++) {
        if (!isMarker(i)) continue;
        const one = watch(i, acknowledged);
        // What fails is reported where it is awaited.
        one.catch(() => {});
        watched.push(one);
      }
    },
  });
  const perSecond = events / ((performance.now() - startedMs) / 1000);
  await Promise.all(watched);
  await pool.close();
  const markers = freshness.totalCount;
  return { kind: 'streamed', events, perSecond, freshness: percentilesOf(freshness), markers };
}

interface Features {
  readonly features: Readonly<Record<string, unknown>>;
}

obeyOrders<StreamOrder, StreamAnswer>((order) => (order.kind === 'connect' ? connect(order) : stream(order)));
