/**
 * Where the time and the memory of a read over HTTP go: a CPU profile and a sampling heap profile of this process
 * while it answers `POST /v1/services/card_fraud/features`, added up by part.
 *
 * A sample belongs to the innermost function on its stack that some part claims, so that what a part calls of the
 * language or of a library counts as that part's. Both profilers cost speed, and each runs in a turn of its own.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type HeapProfiler, type Profiler, Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compose, type Embedded } from '../embedded/runtime.ts';
import { openLmdbStorage } from '../embedded/storage.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import simulate, { type SimulatedEvent } from '../examples/card-fraud/simulator.ts';
import { CONCURRENCY, loadClient } from './http-reads.ts';

export interface ReadProfileOptions {
  /** examples/card-fraud, compiled. */
  readonly repo: CompiledRepo;
  /** Events of the history. */
  readonly events: number;
  /** Of each of the two profiles. */
  readonly seconds: number;
  /** @default 1 */
  readonly seed?: number;
  /** Where `reads.cpuprofile` and `reads.heapprofile` go; null: nowhere. */
  readonly directory: string | null;
  readonly onProgress?: (text: string) => void;
}

export interface ReadProfile {
  readonly requests: number;
  /** CPU time per request by part, µs, the largest first; idle time left out. */
  readonly cpuUs: readonly PartFigure[];
  /** Allocated per request by part, bytes, the largest first. */
  readonly bytes: readonly PartFigure[];
}

export interface PartFigure {
  readonly part: string;
  readonly perRequest: number;
  /** Of all parts. */
  readonly share: number;
}

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2025, 0, 1);
const HISTORY_DAYS = 60;
const CUSTOMERS = 5_000;
const TERMINALS = 10_000;
const CHUNK_EVENTS = 2_000;
const QUESTIONS = 2_000;
const PATH = '/v1/services/card_fraud/features';
const SAMPLING_US = 200;
const HEAP_SAMPLING_BYTES = 4_096;

/** The first that matches claims a function: by its file, and by its name where one file does several things. */
const PARTS: readonly { readonly part: string; readonly file: RegExp; readonly name?: RegExp }[] = [
  { part: 'JSON of the request', file: /\/serve\/json-body\.|\/secure-json-parse\// },
  {
    part: 'checks of the request',
    file: /\/serve\/(feature-request|body-fields|query|content-types)\.|\/engine\/definitions\//,
  },
  { part: 'plan: fields to read', file: /\/engine\/windows\/window-read\./, name: /^(fields|append)$/ },
  { part: 'plan: fields to read', file: /\/engine\/tiles\/(edge-paths|edge-blocks|grid|base36)\./ },
  {
    part: 'store',
    file: /\/engine\/store\/|\/node_modules\/(lmdb|ordered-binary|weak-lru-cache)\//,
  },
  { part: 'finalise', file: /\/engine\/aggregators\/(operations\/|stored-value)/ },
  {
    part: 'decode and merge',
    file: /\/engine\/(tiles|aggregators|windows)\/|\/engine\/(bytes|read-text|hash64)\./,
  },
  { part: 'on-demand features', file: /\/serve\/on-demand-plan\.|\/examples\// },
  { part: 'answer: statuses, gaps', file: /\/serve\/(feature-reader|missing-time)\.|\/ingest\// },
  {
    part: 'serialise',
    file: /\/serve\/(feature-response|json-value|message-pack|arrow-stream)\./,
  },
  { part: 'metrics', file: /\/serve\/metrics\.|\/node_modules\/prom-client\// },
  { part: 'routes and hooks', file: /\/serve\// },
  {
    part: 'fastify',
    file: /\/node_modules\/(fastify|@fastify|find-my-way|fast-querystring|secure-json|reusify|toad-cache|pino|abstract-logging)/,
  },
  { part: 'the system call that sends', file: /^$/, name: /^write/ },
  { part: 'Node: HTTP, sockets, streams', file: /^node:/ },
];

/** Not a read's: waiting, and starting the profiler. */
const isLeftOut = ({ url, functionName }: { url: string; functionName: string }): boolean =>
  functionName === '(idle)' || url.startsWith('node:inspector');
const NATIVE = new Set(['(program)', '(root)']);

export async function profileReads(options: ReadProfileOptions): Promise<ReadProfile> {
  const { seconds, directory, onProgress = () => {} } = options;
  const data = await mkdtemp(join(tmpdir(), 'millrace-profile-'));
  const client = loadClient();
  let engine: Embedded | null = null;
  try {
    const storage = await openLmdbStorage({ dataDir: data, flush: false });
    engine = await compose({ repo: options.repo, clock: 'event', processMetrics: true }, storage);
    const bodies = await preload(engine, options);
    const origin = await engine.app.listen({ host: '127.0.0.1', port: 0 });
    await client.order({ kind: 'start', bodies, concurrency: CONCURRENCY }, 'done');
    const run = (ms: number) => client.order({ kind: 'run', side: 'reads', origin, path: PATH, ms }, 'ran');
    onProgress(`warming up, ${seconds} s …`);
    await run(seconds * 1_000);

    const session = new Session();
    session.connect();
    onProgress(`CPU profile, ${seconds} s …`);
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US });
    await session.post('Profiler.start');
    const { requests } = await run(seconds * 1_000);
    const { profile } = await session.post('Profiler.stop');
    onProgress(`heap profile, ${seconds} s …`);
    await session.post('HeapProfiler.startSampling', {
      samplingInterval: HEAP_SAMPLING_BYTES,
      // What was allocated and is gone counts too: that is what a read costs.
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    } as HeapProfiler.StartSamplingParameterType);
    const allocating = await run(seconds * 1_000);
    const { profile: heap } = await session.post('HeapProfiler.stopSampling');
    session.disconnect();
    if (directory !== null) {
      await writeFile(join(directory, 'reads.cpuprofile'), JSON.stringify(profile));
      await writeFile(join(directory, 'reads.heapprofile'), JSON.stringify(heap));
    }
    return {
      requests,
      cpuUs: figures(cpuByPart(profile), requests),
      bytes: figures(bytesByPart(heap), allocating.requests),
    };
  } finally {
    await client.close();
    await engine?.close();
    await rm(data, { recursive: true, force: true });
  }
}

/** Returns the bodies of the requests. */
async function preload(
  engine: Embedded,
  { events, seed = 1, onProgress }: ReadProfileOptions,
): Promise<string[]> {
  const ratePerSecond = events / ((HISTORY_DAYS * DAY_MS) / 1_000);
  const swipes = (startMs: number): Iterator<SimulatedEvent, never> =>
    simulate({ seed, startMs, ratePerSecond, customers: CUSTOMERS, terminals: TERMINALS });
  const history = swipes(START_MS);
  const take = (from: typeof history, count: number) =>
    Array.from({ length: count }, () => from.next().value.data);
  for (let done = 0; done < events; done += CHUNK_EVENTS) {
    const chunk = take(history, Math.min(CHUNK_EVENTS, events - done));
    await engine.push.push('card_transactions', chunk, { wait: 'applied' });
  }
  await engine.compact();
  onProgress?.(`preloaded ${events} events`);
  return take(swipes(engine.clock.nowMs() + 1), QUESTIONS).map(({ customer_id, terminal_id }) =>
    JSON.stringify({ entities: { customer_id, terminal_id } }),
  );
}

function partOf({ url, functionName }: { url: string; functionName: string }): string | null {
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (NATIVE.has(functionName)) return 'other native code';
  return PARTS.find(({ file, name }) => file.test(url) && (name?.test(functionName) ?? true))?.part ?? null;
}

/** µs by part. */
function cpuByPart({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Map<string, number> {
  const own = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const parts = new Map<number, string | null>();
  const claimed = (id: number): string | null => {
    const known = parts.get(id);
    if (known !== undefined) return known;
    const frame = own.get(id)!.callFrame;
    const parent = parents.get(id);
    const part = isLeftOut(frame)
      ? null
      : (partOf(frame) ?? (parent === undefined ? 'other native code' : claimed(parent)));
    parts.set(id, part);
    return part;
  };
  const totals = new Map<string, number>();
  samples.forEach((id, i) => {
    const part = claimed(id);
    if (part !== null) totals.set(part, (totals.get(part) ?? 0) + timeDeltas[i]!);
  });
  return totals;
}

function bytesByPart({ head }: HeapProfiler.SamplingHeapProfile): Map<string, number> {
  const totals = new Map<string, number>();
  const visit = (node: HeapProfiler.SamplingHeapProfileNode, above: string): void => {
    if (isLeftOut(node.callFrame)) return;
    const part = partOf(node.callFrame) ?? above;
    if (node.selfSize > 0) totals.set(part, (totals.get(part) ?? 0) + node.selfSize);
    for (const child of node.children) visit(child, part);
  };
  visit(head, 'other native code');
  return totals;
}

function figures(totals: ReadonlyMap<string, number>, requests: number): PartFigure[] {
  const all = [...totals.values()].reduce((sum, value) => sum + value, 0);
  return [...totals]
    .sort(([, a], [, b]) => b - a)
    .map(([part, total]) => ({ part, perRequest: total / requests, share: total / all }));
}

export function formatReadProfile({ requests, cpuUs, bytes }: ReadProfile): string {
  const table = (title: string, unit: string, rows: readonly PartFigure[], digits: number): string[] => [
    `| ${title} | ${unit} | share |`,
    '|---|--:|--:|',
    ...rows.map(
      ({ part, perRequest, share }) =>
        `| ${part} | ${perRequest.toFixed(digits)} | ${(share * 100).toFixed(1)} % |`,
    ),
    `| all | ${rows.reduce((sum, row) => sum + row.perRequest, 0).toFixed(digits)} | |`,
  ];
  return [
    `${requests} requests under the CPU profiler, ${CONCURRENCY} in flight.`,
    '',
    ...table('CPU of the thread', 'µs per request', cpuUs, 1),
    '',
    ...table('allocated', 'bytes per request', bytes, 0),
  ].join('\n');
}
