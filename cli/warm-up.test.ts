/** Warming up asks the real routes of every example; that it makes them faster is measured by `npm run loadtest`. */
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { loadFeatureRepo } from './load-features.ts';
import { warmUp } from './warm-up.ts';

const example = (name: string): string => fileURLToPath(new URL(`../examples/${name}`, import.meta.url));

it.each([
  ['card-fraud', 'all'],
  ['retail', 'all'],
  // Its filter lets only failed logins through.
  ['login-velocity', 'none'],
])('%s answers its made-up requests, with values in %s of its services', async (name, present) => {
  const repo = await loadFeatureRepo(example(name));
  const sources = [...repo.sources.values()].filter(({ views }) => views.length > 0);
  const services = repo.services.size;
  const done = await warmUp(repo, { forMs: 3_000 });
  // States were decoded and merged, and not found absent.
  expect(done).toMatchObject({ events: 300 * sources.length, refused: 0 });
  expect(done!.present).toBe(present === 'all' ? services : 0);
  expect(done!.answers).toBeGreaterThanOrEqual(2 * services);
});

it('is over when the process is to stop', async () => {
  const repo = await loadFeatureRepo(example('card-fraud'));
  expect(await warmUp(repo, { forMs: 3_600_000, signal: AbortSignal.abort() })).toMatchObject({ events: 0 });
});

it('says so where it cannot be done, and goes on', async () => {
  const warnings: unknown[] = [];
  const logger = { warn: (fields: unknown) => warnings.push(fields), info: () => {} };
  // No repo at all: whatever fails, the process starts.
  expect(await warmUp({} as never, { forMs: 10, logger: logger as never })).toBeNull();
  expect(warnings).toEqual([{ reason: expect.any(String) }]);
});
