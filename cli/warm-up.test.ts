/** Warming up asks the real routes of every example; that it makes them faster is measured by `npm run loadtest`. */
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { loadFeatureRepo } from './load-features.ts';
import { warmUp } from './warm-up.ts';

const example = (name: string): string => fileURLToPath(new URL(`../examples/${name}`, import.meta.url));

it.each(['card-fraud', 'login-velocity', 'retail'])('%s answers its made-up requests', async (name) => {
  const repo = await loadFeatureRepo(example(name));
  const sources = [...repo.sources.values()].filter(({ views }) => views.length > 0);
  const done = await warmUp(repo, { forMs: 1_000 });
  expect(done).toMatchObject({ events: 300 * sources.length, refused: 0 });
  expect(done!.answers).toBeGreaterThan(repo.services.size);
});

it('says so where it cannot be done, and goes on', async () => {
  const warnings: unknown[] = [];
  const logger = { warn: (fields: unknown) => warnings.push(fields), info: () => {} };
  // No repo at all: whatever fails, the process starts.
  expect(await warmUp({} as never, { forMs: 10, logger: logger as never })).toBeNull();
  expect(warnings).toEqual([{ reason: expect.any(String) }]);
});
