/**
 * The HTTP client of the benchmark: a process of its own, so that it shares no event loop and no heap with the
 * server. It keeps `concurrency` requests in flight, each on a connection that stays open, and sends the next one
 * as soon as an answer is complete (a closed loop).
 */
import { Pool } from 'undici';
import { latencyHistogram, type Percentiles, percentilesOf } from './latency.ts';

export type ClientOrder =
  | { readonly kind: 'start'; readonly bodies: readonly string[]; readonly concurrency: number }
  | {
      readonly kind: 'run';
      readonly side: string;
      readonly origin: string;
      readonly path: string;
      readonly ms: number;
    }
  /** What was measured so far is forgotten. */
  | { readonly kind: 'forget' }
  | { readonly kind: 'report'; readonly side: string };

export type ClientAnswer =
  | { readonly kind: 'done' }
  | { readonly kind: 'ran'; readonly requests: number; readonly seconds: number; readonly bytes: number }
  | { readonly kind: 'report'; readonly percentiles: Percentiles }
  | { readonly kind: 'failed'; readonly message: string };

const pools = new Map<string, Pool>();
const histograms = new Map<string, ReturnType<typeof latencyHistogram>>();
let bodies: readonly string[] = [];
let concurrency = 1;

function histogramOf(side: string): ReturnType<typeof latencyHistogram> {
  const histogram = histograms.get(side) ?? latencyHistogram();
  histograms.set(side, histogram);
  return histogram;
}

async function run({ side, origin, path, ms }: ClientOrder & { kind: 'run' }): Promise<ClientAnswer> {
  const pool = pools.get(origin) ?? new Pool(origin, { connections: concurrency, pipelining: 1 });
  pools.set(origin, pool);
  const histogram = histogramOf(side);
  const headers = { 'content-type': 'application/json' };
  const startedMs = performance.now();
  const endMs = startedMs + ms;
  let next = 0;
  let bytes = 0;
  let requests = 0;
  const loop = async (): Promise<void> => {
    for (;;) {
      const sentMs = performance.now();
      if (sentMs >= endMs) return;
      const body = bodies[next++ % bodies.length]!;
      const answer = await pool.request({ method: 'POST', path, headers, body });
      bytes += (await answer.body.arrayBuffer()).byteLength;
      if (answer.statusCode !== 200) throw new Error(`${side} answered ${answer.statusCode}`);
      histogram.recordValue(Math.max(1, Math.round((performance.now() - sentMs) * 1e6)));
      requests++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  return { kind: 'ran', requests, seconds: (performance.now() - startedMs) / 1000, bytes };
}

async function obey(order: ClientOrder): Promise<ClientAnswer> {
  if (order.kind === 'run') return run(order);
  if (order.kind === 'report') {
    return { kind: 'report', percentiles: percentilesOf(histogramOf(order.side)) };
  }
  if (order.kind === 'forget') histograms.clear();
  else ({ bodies, concurrency } = order);
  return { kind: 'done' };
}

process.on('message', (order: ClientOrder) => {
  obey(order).then(
    (answer) => process.send!(answer),
    (error: unknown) => process.send!({ kind: 'failed', message: String(error) } satisfies ClientAnswer),
  );
});
process.on('disconnect', () => process.exit(0));
