/**
 * The HTTP client of the benchmarks: a process of its own, so that it shares no event loop and no heap with a server.
 *
 * - `run`, a closed loop: `concurrency` requests are in flight, each on a connection that stays open, and the next one
 *   is sent as soon as an answer is complete.
 * - `pace`, an open loop: requests are sent at fixed times whatever the answers do, and a latency counts from the time
 *   a request was to be sent at, so that a server that stalls is charged for all that had to wait.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { latencyHistogram, type Percentiles, percentilesOf, recordMs } from './latency.ts';
import { obeyOrders } from './worker.ts';

interface Target {
  readonly side: string;
  readonly origin: string;
  readonly path: string;
  readonly ms: number;
}

export type ClientOrder =
  | { readonly kind: 'start'; readonly bodies: readonly string[]; readonly concurrency: number }
  | (Target & { readonly kind: 'run' })
  | (Target & { readonly kind: 'pace'; readonly ratePerSecond: number })
  /** What was measured so far is forgotten. */
  | { readonly kind: 'forget' }
  | { readonly kind: 'report'; readonly side: string };

export type ClientAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'ran'; readonly requests: number; readonly seconds: number; readonly bytes: number }
  | {
      readonly kind: 'report';
      readonly percentiles: Percentiles;
      /** How late requests of the open loop were sent; part of their latencies. */
      readonly lateness: Percentiles;
      /** Answers 429 and 503. Each was asked again after a moment, and the time counts. */
      readonly refused: number;
    };

/** Of the open loop: a stall of 64 ms at 1,000 requests a second fits in; what is beyond waits, and is counted. */
const PACED_CONNECTIONS = 64;
const PACE_TICK_MS = 1;
const REFUSED_PAUSE_MS = 5;
/** Longer than a server that is merely busy, or behind its log, refuses. */
const REFUSED_FOR_MS = 30_000;

const pools = new Map<string, Pool>();
const histograms = new Map<string, ReturnType<typeof latencyHistogram>>();
const refusals = new Map<string, number>();
let bodies: readonly string[] = [];
let concurrency = 1;
let next = 0;

function histogramOf(side: string): ReturnType<typeof latencyHistogram> {
  const histogram = histograms.get(side) ?? latencyHistogram();
  histograms.set(side, histogram);
  return histogram;
}

const latenessOf = (side: string): ReturnType<typeof latencyHistogram> => histogramOf(`lateness of ${side}`);

function poolOf(origin: string, connections: number): Pool {
  const name = `${origin} ${connections}`;
  const pool = pools.get(name) ?? new Pool(origin, { connections, pipelining: 1 });
  pools.set(name, pool);
  return pool;
}

const HEADERS = { 'content-type': 'application/json' };

/** Sends the next of the bodies, again if it is refused for now; returns the bytes of the answer. */
async function send(pool: Pool, { side, path }: Target): Promise<number> {
  const body = bodies[next++ % bodies.length]!;
  const giveUpMs = performance.now() + REFUSED_FOR_MS;
  for (;;) {
    const answer = await pool.request({ method: 'POST', path, headers: HEADERS, body });
    const bytes = await answer.body.arrayBuffer();
    if (answer.statusCode === 200) return bytes.byteLength;
    const refused = answer.statusCode === 429 || answer.statusCode === 503;
    if (!refused || performance.now() > giveUpMs) {
      throw new Error(`${side} answered ${answer.statusCode}: ${Buffer.from(bytes).toString()}`);
    }
    refusals.set(side, (refusals.get(side) ?? 0) + 1);
    await delay(REFUSED_PAUSE_MS);
  }
}

async function run(target: Target): Promise<ClientAnswer> {
  const pool = poolOf(target.origin, concurrency);
  const histogram = histogramOf(target.side);
  const startedMs = performance.now();
  const endMs = startedMs + target.ms;
  let bytes = 0;
  let requests = 0;
  const loop = async (): Promise<void> => {
    for (;;) {
      const sentMs = performance.now();
      if (sentMs >= endMs) return;
      // Not `bytes += await …`, which would add to what it was before the request.
      const size = await send(pool, target);
      bytes += size;
      recordMs(histogram, performance.now() - sentMs);
      requests++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  return { kind: 'ran', requests, seconds: (performance.now() - startedMs) / 1000, bytes };
}

async function pace(target: Target, ratePerSecond: number): Promise<ClientAnswer> {
  const pool = poolOf(target.origin, PACED_CONNECTIONS);
  const histogram = histogramOf(target.side);
  const lateness = latenessOf(target.side);
  const intervalMs = 1000 / ratePerSecond;
  const requests = Math.max(1, Math.floor(target.ms / intervalMs));
  const startedMs = performance.now();
  const answers: Promise<void>[] = [];
  let bytes = 0;
  const request = async (scheduledMs: number): Promise<void> => {
    const size = await send(pool, target);
    bytes += size;
    recordMs(histogram, performance.now() - scheduledMs);
  };
  while (answers.length < requests) {
    const nowMs = performance.now();
    for (;;) {
      const scheduledMs = startedMs + answers.length * intervalMs;
      if (scheduledMs > nowMs || answers.length === requests) break;
      recordMs(lateness, nowMs - scheduledMs);
      answers.push(request(scheduledMs));
    }
    await delay(PACE_TICK_MS);
  }
  await Promise.all(answers);
  return { kind: 'ran', requests, seconds: (performance.now() - startedMs) / 1000, bytes };
}

obeyOrders<ClientOrder, ClientAnswer>(async (order) => {
  switch (order.kind) {
    case 'run':
      return run(order);
    case 'pace':
      return pace(order, order.ratePerSecond);
    case 'report':
      return {
        kind: 'report',
        percentiles: percentilesOf(histogramOf(order.side)),
        lateness: percentilesOf(latenessOf(order.side)),
        refused: refusals.get(order.side) ?? 0,
      };
    case 'forget':
      histograms.clear();
      refusals.clear();
      return { kind: 'done' };
    case 'start':
      ({ bodies, concurrency } = order);
      return { kind: 'done' };
  }
});
