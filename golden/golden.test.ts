/**
 * The cases of this folder's JSON files, each through the oracle, embedded, Kafka + Redis, and replay: all must answer
 * what the file says, to the last digit, before and after compaction.
 *
 * What it does not catch: crashes, load, and whatever no file has a case for.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestDeployment } from '../distributed/testing/test-deployment.ts';
import type { RuntimeOptions } from '../embedded/runtime.ts';
import { type Answer, TestEngine } from '../embedded/testing/test-engine.ts';
import { operationRegistry } from '../engine/aggregators/operation-registry.ts';
import { ManualClock } from '../engine/clock.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { GoldenCase, type PushedEvent } from './testing/golden-case.ts';
import { readGoldenFiles } from './testing/golden-file.ts';

const cases = [...readGoldenFiles()].map(([name, file]) => new GoldenCase(name, file));
/** With titles that are not cut off. */
const titled = cases.map((golden) => [golden.title, golden] as const);

/** More than a source's lateness, after which rows are folded into tiles. */
const COMPACT_AFTER_MS = 120_000;
const SEEDS = [1, 2, 3];
/** Nothing but the row in hand is kept in the tail, and a leaf holds a row or two: trees are as deep as they get. */
const TINY_TILES = { leafBytesMax: 60, tailRowsMax: 1 };

const options = {
  pacing: { foldAfterMs: 0 },
  // Behind means behind the log here, not behind a clock that jumps.
  lagBoundMs: Number.MAX_SAFE_INTEGER,
} satisfies Partial<RuntimeOptions>;

interface Engine {
  readonly clock: ManualClock;
  push(source: string, events: readonly unknown[]): Promise<Answer>;
  read(service: string, body: unknown): Promise<Answer>;
  compact(): Promise<unknown>;
}

async function compactLater({ clock, compact }: Engine): Promise<void> {
  clock.advanceTo(clock.nowMs() + COMPACT_AFTER_MS);
  await compact();
}

/** Compaction runs between the chunks. */
async function pushChunks(
  golden: GoldenCase,
  engine: Engine,
  chunks: readonly (readonly PushedEvent[])[],
): Promise<void> {
  for (const [i, events] of chunks.entries()) {
    if (i > 0) await compactLater(engine);
    const { status, body } = await engine.push(golden.name, events);
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.rejected).toEqual([]);
  }
}

/** @returns how many values were coarse: as the file says they may be, with the bounds it gives */
async function expectAnswers(golden: GoldenCase, engine: Engine, when: string): Promise<number> {
  let coarseCount = 0;
  for (const [i, question] of golden.questions.entries()) {
    const { status, body } = await engine.read(golden.name, golden.requestOf(question));
    const what = `${when}, question ${i + 1} (${question.note ?? question.at})`;
    expect(status, `${what}: ${JSON.stringify(body)}`).toBe(200);
    const said = golden.saidIn(body, question);
    const coarse = new Set(Object.keys(said).filter((name) => said[name]!.status === 'coarse'));
    expect(said, what).toEqual(golden.expectedOf(question, coarse));
    coarseCount += coarse.size;
  }
  return coarseCount;
}

/** @param reaching whether the engine must have given up old events where the file allows that */
async function expectAnswersAndCompacted(
  golden: GoldenCase,
  engine: Engine,
  when: string,
  { reaching }: { readonly reaching: boolean } = { reaching: false },
): Promise<void> {
  await expectAnswers(golden, engine, when);
  let coarse = 0;
  for (const compacted of ['compacted', 'compacted twice']) {
    await compactLater(engine);
    coarse += await expectAnswers(golden, engine, `${when}, ${compacted}`);
  }
  if (reaching && golden.mayBeCoarse) expect(coarse, `${when}: coarse values`).toBeGreaterThan(0);
}

function embeddedEngine(it: TestEngine, clock: ManualClock): Engine {
  return {
    clock,
    push: (source, events) => it.push(source, events),
    read: (service, body) => it.read(service, body),
    compact: () => it.engine.compact(),
  };
}

async function withEmbedded(
  golden: GoldenCase,
  own: Partial<RuntimeOptions>,
  body: (engine: Engine, it: TestEngine) => Promise<void>,
): Promise<void> {
  const clock = new ManualClock(golden.startMs);
  const it = await TestEngine.open({ ...options, repo: golden.repo, wallClock: clock, ...own });
  try {
    await body(embeddedEngine(it, clock), it);
  } finally {
    await it.close();
  }
}

/** All events, in another order, in one to six chunks of any sizes. */
function shuffledChunks(golden: GoldenCase, seed: number): PushedEvent[][] {
  const random = new SeededRandom(seed);
  const events = golden.events;
  for (let i = events.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [events[i], events[j]] = [events[j]!, events[i]!];
  }
  const chunks: PushedEvent[][] = Array.from({ length: random.between(2, 6) }, () => []);
  for (const event of events) random.pick(chunks).push(event);
  return chunks.filter((chunk) => chunk.length > 0);
}

describe('the files', () => {
  test('have every operation of the registry and every kind of window', () => {
    const operations = new Set(cases.flatMap(({ operations }) => operations));
    expect([...operationRegistry.keys()].filter((name) => !operations.has(name))).toEqual([]);
    const windows = new Set(cases.flatMap(({ windows }) => windows));
    expect([...windows].sort()).toEqual(['calendar', 'last_events', 'lifetime', 'series', 'sliding']);
    const coarse = new Set(cases.flatMap((golden) => golden.coarseWindows));
    expect([...coarse].sort()).toEqual(['calendar', 'sliding']);
  });
});

describe('by the oracle', () => {
  test.each(titled)('%s', (_, golden) => {
    for (const [i, question] of golden.questions.entries()) {
      const what = `question ${i + 1} (${question.note ?? question.at})`;
      expect(golden.saidByOracle(question), what).toEqual(golden.expectedOf(question));
      const coarse = new Set(Object.keys(question.coarse));
      const reaching = golden.saidByOracle(question, coarse);
      expect(reaching, `${what}, coarse`).toEqual(golden.expectedOf(question, coarse));
    }
  });
});

describe.each([
  ['tiles of the default size', DEFAULT_TILE_SHAPE],
  ['tiny tiles', TINY_TILES],
] as const)('embedded, %s', (_, shape) => {
  test.each(titled)('%s', (_, golden) =>
    withEmbedded(golden, { shape }, async (engine) => {
      await pushChunks(golden, engine, golden.chunks);
      const reaching = shape === TINY_TILES;
      await expectAnswersAndCompacted(golden, engine, 'in the order of the file', { reaching });
    }),
  );
});

describe.each(SEEDS)('replayed embedded, shuffled by seed %i', (seed) => {
  test.each(titled)('%s', (_, golden) =>
    withEmbedded(golden, { shape: TINY_TILES, consumer: { chunkRecords: 3 } }, async (engine, it) => {
      await pushChunks(golden, engine, shuffledChunks(golden, seed));
      await expectAnswersAndCompacted(golden, engine, 'shuffled');

      await it.engine.close();
      await rm(join(it.dataDir, 'store'), { recursive: true });
      await it.restart();
      await it.engine.ready();
      await expectAnswersAndCompacted(golden, engine, 'from the log into an empty store');
    }),
  );
});

describeWithServices(['kafka', 'redis'], 'Kafka and Redis', () => {
  let brokers: string[];
  let redis: RedisServer;
  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
  }, 180_000);
  afterAll(() => redis?.stop());

  // Mostly waiting for consumer groups.
  test.concurrent.each(titled)('%s', { timeout: 120_000 }, async (_, golden) => {
    const deployment = await TestDeployment.open({
      definitions: golden.definitions,
      brokers,
      redisUrl: redis.url,
      startMs: golden.startMs,
      process: { ...options, shape: TINY_TILES },
    });
    const { clock } = deployment;
    const start = async (prefix: string): Promise<Engine & { close(): Promise<void> }> => {
      const ownRedis = { ...deployment.processOptions([]).redis, prefix };
      const it = await deployment.start(['ingest', 'serve', 'compact'], { redis: ownRedis });
      await it.caughtUp();
      return {
        clock,
        push: (source, events) => it.push(source, events),
        read: (service, body) => it.read(service, body),
        compact: () => it.runtime.compact(),
        close: () => it.close(),
      };
    };
    try {
      const first = await start(`test-${deployment.id}-1`);
      await pushChunks(golden, first, golden.chunks);
      await expectAnswersAndCompacted(golden, first, 'in the order of the file', { reaching: true });
      await first.close();

      const second = await start(`test-${deployment.id}-2`);
      await expectAnswersAndCompacted(golden, second, 'from the topic into an empty store');
    } finally {
      await deployment.close();
    }
  });
});
