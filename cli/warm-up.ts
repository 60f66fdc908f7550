/**
 * Makes a process fast before anyone waits for it: V8 interprets what it has not run often, and a first second of real load
 * would wait for seconds. The repo's services are asked for features of made-up events, over an engine in memory that nobody
 * else sees; what runs then is the code that answers later.
 *
 * Where a filter lets no made-up event through, its view's states are absent: what decodes and merges is then compiled by other
 * views, or by real requests.
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
/** However short the time: what comes first decides what is compiled at all. */
const ROUNDS_MIN = 2;
/** Loops are left from time to time, so that whatever else the process does has its turn. */
const TURN_REQUESTS = 20;

export interface WarmUp {
  /** Made-up events that were taken. */
  readonly events: number;
  /** Requests that were answered with features. */
  readonly answers: number;
  /** Requests that were not. */
  readonly refused: number;
  /** Services some of whose values were there, so that states were decoded and merged. */
  readonly present: number;
}

/**
 * Takes some `forMs`; up to twice as long where opening is slow. Never throws: a process that could not be warmed up is slow
 * at first.
 * @param terms.signal ends it early
 * @returns null where it could not be done
 */
export async function warmUp(
  repo: CompiledRepo,
  terms: { readonly forMs: number; readonly signal?: AbortSignal; readonly logger?: FastifyBaseLogger },
): Promise<WarmUp | null> {
  const { forMs, signal, logger } = terms;
  const startedMs = performance.now();
  try {
    const done = await askUntil(repo, { forMs, untilMs: startedMs + forMs, signal: signal ?? null });
    const fields = { ...done, ms: Math.round(performance.now() - startedMs) };
    if (done.answers === 0)
      logger?.warn(fields, 'no made-up request was answered: the first answers may take long');
    else logger?.info(fields, 'warmed up');
    return done;
  } catch (error) {
    logger?.warn({ reason: reasonOf(error) }, 'could not be warmed up: the first answers may take long');
    return null;
  }
}

async function askUntil(
  repo: CompiledRepo,
  {
    forMs,
    untilMs,
    signal,
  }: { readonly forMs: number; readonly untilMs: number; readonly signal: AbortSignal | null },
): Promise<WarmUp> {
  const engine = await openInMemory({
    repo,
    limits: { targetDelayMs: Number.POSITIVE_INFINITY },
    appliedTimeoutMs: Math.max(100, forMs),
  });
  const isOver = (): boolean => performance.now() >= untilMs || signal?.aborted === true;
  let events = 0;
  let answers = 0;
  let refused = 0;
  const present = new Set<string>();
  try {
    const nowMs = engine.clock.nowMs();
    for (const source of repo.sources.values()) {
      if (source.views.length === 0 || isOver()) continue;
      const pushed = await engine.app.inject(pushOf(source, nowMs));
      events += pushed.json<{ accepted?: number }>().accepted ?? 0;
    }
    const requests = [...repo.services.values()].map((service) => requestsOf(service, nowMs));
    for (let round = 0; requests.length > 0 && (round < ROUNDS_MIN || !isOver()); round++) {
      for (const { url, payloads } of requests) {
        if (signal?.aborted) break;
        const payload = { ...payloads[round % KEYS], ...(round === 0 ? { metadata: true } : {}) };
        const { statusCode, body } = await engine.app.inject({ method: 'POST', url, payload });
        if (statusCode === 200) answers++;
        else refused++;
        if (round === 0 && body.includes('"present"')) present.add(url);
      }
      if (signal?.aborted) break;
      if (round % TURN_REQUESTS === 0) await new Promise(setImmediate);
    }
  } finally {
    await engine.close();
  }
  return { events, answers, refused, present: present.size };
}

function madeUp(type: ColumnType, i: number, timeMs: number): unknown {
  switch (type) {
    case 'string':
      return `warm-up ${i}`;
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

function pushOf({ name, definition, views }: CompiledSource, nowMs: number) {
  const { columns, eventTime } = definition;
  const events = Array.from({ length: EVENTS }, (_, i) => {
    // Denser and denser: a sixth of them in the last half an hour, for short windows.
    const timeMs = nowMs - Math.floor(SPREAD_MS * ((EVENTS - i) / EVENTS) ** 4);
    const event = { ...rowOf(columns, i, timeMs), [eventTime]: new Date(timeMs).toISOString() };
    for (const view of views) {
      const { keyColumn } = view.definition;
      event[keyColumn] = madeUp(columns[keyColumn]!.type, i % KEYS, nowMs);
    }
    return event;
  });
  return { method: 'POST', url: `/v1/sources/${name}/events?wait=applied`, payload: { events } } as const;
}

function requestsOf({ name, views, entities, request }: CompiledService, nowMs: number) {
  const keyOf = (entity: string, i: number): string => {
    const { view } = views.find((one) => one.view.entity.name === entity)!;
    const { type } = view.source.columns[view.definition.keyColumn]!;
    return String(madeUp(type, i, nowMs));
  };
  const payloads = Array.from({ length: KEYS }, (_, i) => {
    const row = rowOf(request, i, nowMs);
    return {
      entities: Object.fromEntries(entities.map((entity) => [entity.name, keyOf(entity.name, i)])),
      ...(Object.keys(row).length === 0 ? {} : { request: row }),
    };
  });
  return { url: `/v1/services/${name}/features`, payloads };
}
