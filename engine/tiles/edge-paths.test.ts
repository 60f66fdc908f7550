import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../testing/random.ts';
import { EdgePaths } from './edge-paths.ts';
import { DEPTH_MAX, pathFields, TIME_END_MS } from './grid.ts';

/** As the definition has it: the paths of all edges, each field once. */
function slowly(distances: readonly number[], atMs: number, extraMs: number | null): Set<string> {
  const edges = distances.map((distance) => atMs - distance).filter((edgeMs) => edgeMs >= 0);
  if (extraMs !== null) edges.push(extraMs);
  return new Set(edges.flatMap(pathFields));
}

describe('paths of window edges', () => {
  test.each(Array.from({ length: 50 }, (_, i) => i + 1))(
    'are those of all edges, each once: seed %i',
    (seed) => {
      const random = new SeededRandom(seed);
      const distances = Array.from({ length: random.between(1, 8) }, () =>
        random.chance(0.5) ? random.below(100) : random.below(90 * 86_400_000),
      );
      const paths = new EdgePaths(distances);
      let atMs = random.chance(0.2) ? random.below(1_000) : Date.UTC(2026, 0, 1);
      for (let i = 0; i < 200; i++) {
        // Mostly a little later, as questions come; sometimes far away, or back.
        atMs = random.chance(0.9) ? atMs + random.below(40) : random.below(TIME_END_MS);
        const extraMs = random.chance(0.3) ? Math.max(0, atMs - random.below(100_000)) : null;
        paths.moveTo(atMs, extraMs);
        const depths = Array.from({ length: DEPTH_MAX }, (_, d) => paths.at(d + 1));
        const fields = depths.flat();
        expect(new Set(fields)).toEqual(slowly(distances, atMs, extraMs));
        expect(new Set(fields).size).toBe(fields.length);
        paths.moveTo(atMs, extraMs);
        for (const [d, same] of depths.entries()) expect(paths.at(d + 1)).toBe(same);
      }
    },
  );
});
