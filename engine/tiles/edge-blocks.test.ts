import { expect, test } from 'vitest';
import { SeededRandom } from '../testing/random.ts';
import { EdgeBlocks, type EdgeGroup } from './edge-blocks.ts';
import { DEPTH_MAX } from './grid.ts';
import { blockField, blockLevels, forEachBlockBetween } from './wide-blocks.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_129);
const DAY_MS = 86_400_000;

/** The blocks of every window by itself. */
function blocksOf(groups: readonly EdgeGroup[], atMs: number): string[] {
  const fields = new Set<string>();
  for (const { newerMs, older, moving } of groups) {
    for (const edgeMs of [...older.map((distance) => atMs - distance), ...moving.map((edge) => edge(atMs))]) {
      if (atMs < newerMs) continue;
      forEachBlockBetween(Math.max(-1, edgeMs), atMs - newerMs, (level, index) => {
        fields.add(blockField(level, index));
      });
    }
  }
  return [...fields].sort();
}

test(`each block of the windows once, whatever was asked before (TEST_SEED=${SEED})`, () => {
  const random = new SeededRandom(SEED);
  const groups: EdgeGroup[] = [
    { newerMs: 0, older: [60_000, DAY_MS, 7 * DAY_MS, 90 * DAY_MS], moving: [] },
    { newerMs: DAY_MS, older: [8 * DAY_MS], moving: [(atMs) => atMs - (atMs % DAY_MS) - 1] },
    { newerMs: 0, older: [Number.POSITIVE_INFINITY], moving: [] },
  ];
  const blocks = new EdgeBlocks(groups);
  let shared = 0;
  // So many that the names are made anew on the way.
  for (let i = 0; i < 1_500; i++) {
    const atMs = random.chance(0.1)
      ? random.below(2 * DAY_MS)
      : 1_700_000_000_000 + random.below(400 * DAY_MS);
    const fields: string[] = [];
    blocks.moveTo(atMs);
    for (let depth = 1; depth <= DEPTH_MAX; depth++) {
      const own = blocks.at(depth);
      const { first, last } = blockLevels(depth);
      for (const field of own) {
        const level = Number.parseInt(field[1]!, 36);
        expect(first <= level && level <= last, `${field} at depth ${depth}`).toBe(true);
      }
      fields.push(...own);
    }
    expect(fields.toSorted(), `at ${atMs}`).toEqual(blocksOf(groups, atMs));
    const single = groups.reduce((sum, group) => sum + blocksOf([group], atMs).length, 0);
    if (fields.length < single) shared++;
  }
  expect(shared).toBeGreaterThan(1_000);
});
