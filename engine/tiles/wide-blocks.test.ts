import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EdgeBlocks } from './edge-blocks.ts';
import { DEPTH_MAX, TIME_END_MS } from './grid.ts';
import {
  BLOCK_LEVEL_MAX,
  type BlockPlace,
  blockAbove,
  blockField,
  blockLevels,
  forEachBlockBetween,
  isBlockBetween,
  placeOfField,
  turnMs,
} from './wide-blocks.ts';

interface Block {
  readonly startMs: number;
  readonly endMs: number;
}

function blocksBetween(fromMs: number, toMs: number): Block[] {
  const blocks: Block[] = [];
  forEachBlockBetween(fromMs, toMs, (level, index) => {
    blocks.push({ startMs: index * 2 ** level, endMs: (index + 1) * 2 ** level });
  });
  return blocks.sort((a, b) => a.startMs - b.startMs);
}

/** Times near borders of every level, and any. */
const time = fc.oneof(
  fc.integer({ min: 0, max: TIME_END_MS - 1 }),
  fc
    .tuple(fc.nat({ max: 44 }), fc.nat({ max: 40 }), fc.integer({ min: -2, max: 2 }))
    .map(([level, n, off]) => Math.min(TIME_END_MS - 1, Math.max(0, n * 2 ** level + off))),
);

describe('the blocks between two times', () => {
  test('are told from others by themselves, and named by their fields', () => {
    fc.assert(
      fc.property(time, time, fc.boolean(), (a, b, fromStart) => {
        const fromMs = fromStart ? -1 : Math.min(a, b);
        const toMs = Math.max(a, b);
        const between = new Set<string>();
        const near: BlockPlace[] = [];
        forEachBlockBetween(fromMs, toMs, (level, index) => {
          between.add(blockField(level, index));
          near.push({ level, index }, { level, index: index + 1 }, { level, index: Math.max(0, index - 1) });
          if (level > 0) near.push({ level: level - 1, index: 2 * index });
          if (level < BLOCK_LEVEL_MAX) near.push({ level: level + 1, index: Math.floor(index / 2) });
        });
        for (const place of near) {
          const field = blockField(place.level, place.index);
          expect(placeOfField(field)).toEqual(place);
          expect(isBlockBetween(place, fromMs, toMs), field).toBe(between.has(field));
        }
      }),
    );
    for (const field of ['R', 'a1ag', 'I']) expect(placeOfField(field)).toBeNull();
  });

  test('are the times between them, each once, and at most two a level up to a year', () => {
    fc.assert(
      fc.property(time, time, fc.boolean(), (a, b, fromStart) => {
        const fromMs = fromStart ? -1 : Math.min(a, b);
        const toMs = Math.max(a, b);
        const blocks = blocksBetween(fromMs, toMs);
        let nextMs = fromMs + 1;
        const perLevel = new Map<number, number>();
        for (const { startMs, endMs } of blocks) {
          if (startMs !== nextMs) throw new Error(`a block begins at ${startMs}, not at ${nextMs}`);
          nextMs = endMs;
          const span = endMs - startMs;
          perLevel.set(span, (perLevel.get(span) ?? 0) + 1);
        }
        expect(nextMs).toBe(Math.max(toMs, fromMs + 1));
        for (const [span, count] of perLevel)
          if (span < 2 ** BLOCK_LEVEL_MAX) expect(count).toBeLessThanOrEqual(2);
      }),
      { numRuns: 500 },
    );
  });

  test('turn where those of the newer edge end, which is further back the older the other edge is', () => {
    fc.assert(
      fc.property(time, time, time, (a, b, c) => {
        const [oldest, older, toMs] = [a, b, c].sort((x, y) => x - y) as [number, number, number];
        if (older === toMs || oldest === older) return;
        const turn = turnMs(older, toMs);
        expect(turn).toBeGreaterThan(older);
        expect(turn).toBeLessThanOrEqual(toMs);
        const whole = blocksBetween(older, toMs);
        expect([...blocksBetween(older, turn), ...blocksBetween(turn - 1, toMs)]).toEqual(whole);
        // What a larger window adds to the newer side begins where the smaller one's ends.
        const further = turnMs(oldest, toMs);
        expect(further).toBeLessThanOrEqual(turn);
        if (further < turn) {
          expect([...blocksBetween(further - 1, turn), ...blocksBetween(turn - 1, toMs)]).toEqual(
            blocksBetween(further - 1, toMs),
          );
        }
      }),
      { numRuns: 500 },
    );
  });
});

test('every block of every depth is one of the levels over its children', () => {
  const levels: number[] = [];
  for (let depth = DEPTH_MAX; depth >= 1; depth--) {
    const { first, last } = blockLevels(depth);
    for (let level = first; level <= last; level++) levels.push(level);
  }
  expect(levels).toEqual(Array.from({ length: BLOCK_LEVEL_MAX + 1 }, (_, level) => level));
  expect(blockAbove(30, 5, 32)).toBe(1);
});

test('names are unique and short', () => {
  const names = new Set<string>();
  for (let level = 0; level <= BLOCK_LEVEL_MAX; level++) {
    for (const index of [0, 1, 35, 36, Math.floor((TIME_END_MS - 1) / 2 ** level)]) {
      const name = blockField(level, index);
      expect(name).toMatch(/^w[0-9a-z]{2,15}$/);
      names.add(name);
    }
  }
  expect(names.size).toBe(5 * (BLOCK_LEVEL_MAX + 1));
});

test('a view asks for exactly the blocks between its edges, each once, whatever it asked before', () => {
  const groups = [
    {
      newerMs: 0,
      older: [1, 60_000, 3_600_000, 90 * 86_400_000],
      moving: [(atMs: number) => atMs - (atMs % 86_400_000) - 1],
    },
    { newerMs: 86_400_000, older: [2 * 86_400_000, Number.POSITIVE_INFINITY], moving: [] },
    { newerMs: 5, older: [], moving: [] },
  ];
  const blocks = new EdgeBlocks(groups);
  fc.assert(
    fc.property(time, (atMs) => {
      const expected = new Set<string>();
      const add = (fromMs: number, toMs: number): void => {
        if (toMs >= 0)
          forEachBlockBetween(Math.max(-1, fromMs), toMs, (l, i) => expected.add(blockField(l, i)));
      };
      for (const { newerMs, older, moving } of groups) {
        for (const distance of older) add(atMs - distance, atMs - newerMs);
        for (const edge of moving) add(edge(atMs), atMs - newerMs);
      }
      blocks.moveTo(atMs);
      const fields = Array.from({ length: DEPTH_MAX }, (_, d) => blocks.at(d + 1)).flat();
      expect(fields.length).toBe(new Set(fields).size);
      expect(new Set(fields)).toEqual(expected);
    }),
  );
});
