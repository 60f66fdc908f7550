/**
 * Replays a file into a real engine through its HTTP API and asks for features as of chosen events, at the moment
 * when each has just arrived: nothing later is in the engine yet, folding and compaction run beside it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Embedded, openEmbedded } from '../embedded/runtime.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import type { DecodedEvent } from '../engine/definitions/decode-event.ts';
import { toJsonValue } from '../engine/definitions/to-json-value.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import type { TileShape } from '../engine/tiles/tile-shape.ts';
import { csvEvents } from './published-data.ts';

export type Features = Readonly<Record<string, number | null>>;

export interface Question {
  readonly service: string;
  readonly entities: Readonly<Record<string, unknown>>;
}

const CHUNK = 2_000;

export interface LockstepOptions {
  readonly definitions: Readonly<Record<string, unknown>>;
  readonly source: string;
  readonly file: string;
  /** Small leaves and tails make deep trees and much folding. */
  readonly shape: TileShape;
  /** Event time after which a tail is folded, ms. */
  readonly foldAfterMs: number;
  /** Questions about an event, none for most. */
  readonly questions: (row: EventRow) => readonly Question[];
  readonly answer: (row: EventRow, question: Question, features: Features) => void;
  /** Stops before the first event for which it is true. */
  readonly until?: (row: EventRow) => boolean;
}

export interface LockstepSummary {
  readonly events: number;
  readonly questions: number;
  /** States that compaction rewrote meanwhile. */
  readonly compacted: number;
}

export async function lockstep(options: LockstepOptions): Promise<LockstepSummary> {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-data-'));
  const repo = compileRepo(Object.values(options.definitions));
  const engine = await openEmbedded({
    repo,
    dataDir,
    clock: 'event',
    flush: false,
    processMetrics: false,
    shape: options.shape,
    pacing: { foldAfterMs: options.foldAfterMs },
  });
  try {
    return await run(options, engine, repo.sources.get(options.source)!);
  } finally {
    await engine.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function run(
  options: LockstepOptions,
  engine: Embedded,
  source: CompiledSource,
): Promise<LockstepSummary> {
  let waiting: DecodedEvent[] = [];
  let events = 0;
  let questions = 0;
  let compacted = 0;
  const push = async (expected: { accepted: number; duplicates: number }): Promise<void> => {
    if (waiting.length === 0) return;
    const body = { events: waiting.map(({ row }) => toJsonValue(row)) };
    const counts = await post(engine, `/v1/sources/${options.source}/events?wait=applied`, body);
    const { accepted, duplicates, rejected } = counts as unknown as Record<string, unknown>;
    if (accepted !== expected.accepted || duplicates !== expected.duplicates) {
      throw new Error(`pushed ${waiting.length}: ${JSON.stringify({ accepted, duplicates, rejected })}`);
    }
    waiting = [];
  };
  for await (const event of csvEvents(options.file, source)) {
    if (options.until?.(event.row)) break;
    events++;
    const asked = options.questions(event.row);
    if (asked.length === 0) {
      waiting.push(event);
      if (waiting.length >= CHUNK) {
        await push({ accepted: waiting.length, duplicates: 0 });
        compacted += await engine.compact();
      }
      continue;
    }
    await push({ accepted: waiting.length, duplicates: 0 });
    if (questions % 500 === 0) compacted += await engine.compact();
    // Every other event is asked about before it is recorded, and recorded by the first question itself.
    const scored = questions % 2 === 1;
    waiting = [event];
    if (!scored) await push({ accepted: 1, duplicates: 0 });
    for (const question of asked) {
      const body = {
        entities: question.entities,
        event: { source: options.source, data: toJsonValue(event.row) },
        ingest: scored && question === asked[0],
      };
      const { features } = (await post(engine, `/v1/services/${question.service}/features`, body)) as {
        features: Features;
      };
      options.answer(event.row, question, features);
      questions++;
    }
    if (scored) {
      waiting = [event];
      await push({ accepted: 0, duplicates: 1 });
    }
  }
  return { events, questions, compacted };
}

async function post(engine: Embedded, url: string, body: object): Promise<Record<string, unknown>> {
  const response = await engine.app.inject({ method: 'POST', url, payload: body });
  if (response.statusCode !== 200)
    throw new Error(`${url}: ${response.statusCode} ${response.body.slice(0, 300)}`);
  return response.json() as Record<string, unknown>;
}
