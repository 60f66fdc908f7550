/**
 * The log applied again to states that have all of it, as after a fall back of the watermarks alone. Events without ids,
 * whose stamps are forgotten and whose rows are merged for good: nothing but their offsets says that they were applied.
 */
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { LmdbTileStore } from '../engine/store/lmdb-tile-store.ts';
import { mendableDefinitions } from './testing/mendable-repo.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS } from './testing/test-repo.ts';

const DAY_MS = 86_400_000;
/** The oldest are beyond every window, and past the time for which reads may ask back. */
const DAYS = 6;

let it: TestEngine;
afterEach(() => it?.close());

test('counts nothing twice', async () => {
  const repo = compileRepo(mendableDefinitions(false));
  it = await TestEngine.open({
    repo,
    pacing: { foldAfterMs: 0 },
    shape: { leafBytesMax: 90, tailRowsMax: 3 },
  });
  const features = async (): Promise<unknown> =>
    (await it.read('swipes_of_card', { entities: { card: 'c1' } })).body.features;
  for (let day = 0; day < DAYS; day++) {
    it.clock.advanceTo(NOON_MS + day * DAY_MS);
    const swipe = { at: it.clock.nowMs(), card: 'c1', amount: 2 };
    await it.push(
      'swipes',
      Array.from({ length: 8 }, () => swipe),
    );
    expect(await it.engine.compact()).toBeGreaterThan(0);
  }
  const right = { careful_ever: 8 * DAYS, careful_sum_1d: 16, plain_1d: 8 };
  expect(await features()).toEqual(right);

  await it.engine.close();
  const store = await LmdbTileStore.open({ path: join(it.dataDir, 'store') });
  for (const { namespace } of repo.views.values()) await store.dropWatermarks(0, namespace);
  await store.close();
  await it.restart();
  await it.engine.ready();
  expect(await features()).toEqual(right);
  await it.engine.compact();
  expect(await features()).toEqual(right);
});
