/**
 * Makes a process fast before anyone waits for it: V8 interprets what it has not run often, and a first second of real load
 * would wait for seconds. The repo's services are asked for features of made-up events, over an engine in memory that nobody
 * else sees; what runs then is the code that answers later.
 */
import type { FastifyBaseLogger } from 'fastify';
import { openInMemory } from '../embedded/runtime.ts';
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledRepo, CompiledService, CompiledSource } from '../engine/definitions/compiled.ts';
import type { Columns } from '../engine/definitions/types.ts';
import { reasonOf } from '../roles/reason-of.ts';

const EVENTS = 300;
const KEYS = 3;
/** As far back as most windows reach. */
const SPREAD_MS = 30 * 86_400_000;
/** Loops are left from time to time, so that whatever else the process does has its turn. */
const TURN_REQUESTS = 20;

function madeUp(type: ColumnType, i: number, timeMs: number): unknown {
  switch (type) {
    case 'string':
      return `warm-up ${i % KEYS}`;
    case 'integer':
    case 'long':
      return i;
    case 'double':
      return 1.25 * i;
    case 'boolean':
      return i % 2 === 0;
    case 'timestamp':
      return new Date(timeMs).toISOString();
  }
}

const rowOf = (columns: Columns, i: number, timeMs: number): Record<string, unknown> =>
  Object.fromEntries(Object.entries(columns).map(([name, { type }]) => [name, madeUp(type, i, timeMs)]));

export interface WarmUp {
  /** Made-up events that were taken. */
  readonly events: number;
  /** Requests that were answered with features. */
  readonly answers: number;
  /** Requests that were not. */
  readonly refused: number;
}

/** Never throws: a process that could not be warmed up is slow at first. @returns null where it could not be */
export async function warmUp(
  repo: CompiledRepo,
  { forMs, logger }: { readonly forMs: number; readonly logger?: FastifyBaseLogger },
): Promise<WarmUp | null> {
  const startedMs = performance.now();
  try {
    const done = await askUntil(repo, startedMs + forMs);
    logger?.info({ ...done, ms: Math.round(performance.now() - startedMs) }, 'warmed up');
    return done;
  } catch (error) {
    logger?.warn({ reason: reasonOf(error) }, 'could not be warmed up: the first answers may take long');
    return null;
  }
}

async function askUntil(repo: CompiledRepo, untilMs: number): Promise<WarmUp> {
  const engine = await openInMemory({ repo, limits: { targetDelayMs: Number.POSITIVE_INFINITY } });
  let events = 0;
  let answers = 0;
  let refused = 0;
  const ask = async (url: string, payload: object): Promise<void> => {
    const { statusCode } = await engine.app.inject({ method: 'POST', url, payload });
    if (statusCode === 200) answers++;
    else refused++;
  };
  try {
    const nowMs = engine.clock.nowMs();
    for (const source of repo.sources.values()) {
      if (source.views.length === 0) continue;
      const pushed = await engine.app.inject(pushOf(source, nowMs));
      events += pushed.json<{ accepted?: number }>().accepted ?? 0;
    }
    const requests = [...repo.services.values()].map((service) => requestsOf(service, nowMs));
    for (let i = 0; performance.now() < untilMs && requests.length > 0; i++) {
      for (const { url, payloads } of requests) await ask(url, payloads[i % payloads.length]!);
      if (i % TURN_REQUESTS === 0) await new Promise(setImmediate);
    }
  } finally {
    await engine.close();
  }
  return { events, answers, refused };
}

function pushOf(source: CompiledSource, nowMs: number) {
  const { columns, eventTime } = source.definition;
  const events = Array.from({ length: EVENTS }, (_, i) => {
    const timeMs = nowMs - Math.floor((SPREAD_MS * (EVENTS - i)) / EVENTS);
    return { ...rowOf(columns, i, timeMs), [eventTime]: new Date(timeMs).toISOString() };
  });
  return {
    method: 'POST',
    url: `/v1/sources/${source.name}/events?wait=applied`,
    payload: { events },
  } as const;
}

function requestsOf(service: CompiledService, nowMs: number) {
  const payloads = Array.from({ length: KEYS }, (_, i) => {
    const request = rowOf(service.request, i, nowMs);
    return {
      entities: Object.fromEntries(service.entities.map(({ name }) => [name, `warm-up ${i}`])),
      ...(Object.keys(request).length === 0 ? {} : { request }),
    };
  });
  return { url: `/v1/services/${service.name}/features`, payloads };
}
