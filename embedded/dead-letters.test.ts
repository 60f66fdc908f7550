/** Dead letters of the embedded engine over HTTP: found, mended, replayed, and counted once whatever is lost. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { mendableDefinitions } from './testing/mendable-repo.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS } from './testing/test-repo.ts';

const broken = compileRepo(mendableDefinitions(true));
const mended = compileRepo(mendableDefinitions(false));
const URL = '/v1/sources/swipes/dead-letters';

let it: TestEngine;
afterEach(() => it?.close());

const swipe = (amount: number, card = 'c1') => ({ at: NOON_MS, card, amount });
const features = async (): Promise<unknown> =>
  (await it.read('swipes_of_card', { entities: { card: 'c1' } })).body.features;
const becomes = (values: Record<string, number>) =>
  vi.waitFor(async () => expect(await features()).toEqual(values), { timeout: 10_000 });

test('letters are listed, shown and replayed by the mended version, and count once, also when the store is lost', async () => {
  it = await TestEngine.open({ repo: broken });
  await it.push('swipes', [swipe(1), swipe(13), swipe(13), swipe(13, 'other')]);
  expect(await features()).toEqual({ careful_ever: 1, careful_sum_1d: 1, plain_1d: 3 });
  const list = await it.get(`${URL}?limit=2`);
  expect(list.body).toMatchObject({ total: 3, counts: { filter_or_projection: 3 } });
  expect(
    list.body.letters.map(({ offset, view }: { offset: number; view: string }) => [offset, view]),
  ).toEqual([
    [1, 'careful'],
    [2, 'careful'],
  ]);
  expect(JSON.stringify(list.body)).not.toContain('c1');
  expect((await it.get(`${URL}?reason=undecodable`)).body.total).toBe(0);
  const shown = await it.get(`${URL}/0/3`);
  expect(shown.body.letters[0]).toMatchObject({
    offset: 3,
    reason: 'filter_or_projection',
    state: 'open',
    stamp: expect.any(String),
    appended: new Date(NOON_MS).toISOString(),
    written: new Date(NOON_MS).toISOString(),
    value_bytes: JSON.stringify(swipe(13, 'other')).length,
  });
  expect(shown.body.letters[0]).not.toHaveProperty('value');
  const { value } = (await it.get(`${URL}/0/3?value=true`)).body.letters[0];
  expect(JSON.parse(Buffer.from(value, 'base64').toString())).toEqual(swipe(13, 'other'));

  // Too early: they are letters again.
  expect((await it.post(`${URL}/replay`, {})).body).toMatchObject({ replayed: 3, remaining: 0 });
  await vi.waitFor(async () => expect((await it.get(URL)).body.total).toBe(3), { timeout: 10_000 });

  await it.restart({ repo: mended });
  expect((await it.post(`${URL}/replay`, { limit: 1 })).body).toMatchObject({ replayed: 1, remaining: 2 });
  expect((await it.post(`${URL}/replay`, { view: 'careful' })).body).toMatchObject({
    replayed: 2,
    remaining: 0,
  });
  const right = { careful_ever: 3, careful_sum_1d: 27, plain_1d: 3 };
  await becomes(right);
  expect((await it.get(URL)).body).toMatchObject({ total: 0, counts: {}, letters: [] });

  await it.engine.close();
  await rm(join(it.dataDir, 'store'), { recursive: true });
  await it.restart({ repo: mended });
  await it.engine.ready();
  await it.engine.compact();
  expect(await features()).toEqual(right);
});

test('a copy counts once where neither the stamp of its original nor its row is kept any more', async () => {
  it = await TestEngine.open({
    repo: broken,
    pacing: { foldAfterMs: 0 },
    shape: { leafBytesMax: 90, tailRowsMax: 3 },
  });
  await it.push('swipes', [swipe(13), swipe(13)]);
  // Three hours, the horizon is one.
  it.clock.advanceTo(NOON_MS + 3 * 3_600_000);
  const later = Array.from({ length: 12 }, () => ({ ...swipe(1), at: it.clock.nowMs() }));
  await it.push('swipes', later);
  expect(await it.engine.compact()).toBeGreaterThan(0);
  const right = { careful_ever: 14, careful_sum_1d: 38, plain_1d: 14 };
  expect(await features()).toEqual({ careful_ever: 12, careful_sum_1d: 12, plain_1d: 14 });

  await it.restart({ repo: mended });
  expect((await it.post(`${URL}/replay`, {})).body).toMatchObject({ replayed: 2, remaining: 0 });
  await becomes(right);
  await it.engine.compact();
  expect(await features()).toEqual(right);
});

test('it refuses what it does not know, by name', async () => {
  it = await TestEngine.open({ repo: broken });
  const codeOf = async (answer: Promise<{ status: number; body: { error: { code: string } } }>) => {
    const { status, body } = await answer;
    return [status, body.error.code];
  };
  expect(await codeOf(it.get('/v1/sources/none/dead-letters'))).toEqual([404, 'unknown_source']);
  expect(await codeOf(it.get(`${URL}/0/3`))).toEqual([404, 'unknown_dead_letter']);
  expect(await codeOf(it.get(`${URL}/x/3`))).toEqual([404, 'unknown_dead_letter']);
  expect(await codeOf(it.get(`${URL}?colour=red`))).toEqual([400, 'unknown_parameter']);
  expect(await codeOf(it.get(`${URL}?reason=bad`))).toEqual([400, 'invalid_parameter']);
  expect(await codeOf(it.get(`${URL}?limit=0.5`))).toEqual([400, 'invalid_parameter']);
  expect(await codeOf(it.post(`${URL}/replay`, { since: 'yesterday' }))).toEqual([400, 'invalid_parameter']);
  expect(await codeOf(it.post(`${URL}/replay`, { view: 7 }))).toEqual([400, 'invalid_parameter']);
  expect(await codeOf(it.post(`${URL}/replay`, { dry: true }))).toEqual([400, 'unknown_field']);
  expect(await codeOf(it.get(`${URL}?origins=0/`))).toEqual([400, 'invalid_parameter']);
  expect(await codeOf(it.post('/v1/sources/none/dead-letters/discard', { origins: ['0/1'] }))).toEqual([
    404,
    'unknown_source',
  ]);
  for (const origins of [
    undefined,
    [],
    '',
    {},
    [1],
    ['0/1', '0/x'],
    Array(501)
      .fill(0)
      .map((_, i) => `0/${i}`),
  ]) {
    expect(await codeOf(it.post(`${URL}/discard`, { origins })), String(origins)).toEqual([
      400,
      'invalid_parameter',
    ]);
  }
  expect(await codeOf(it.post(`${URL}/discard`, { offset: 1 }))).toEqual([400, 'unknown_field']);
  expect((await it.post(`${URL}/discard`, { origins: ['0/3', '0/3'] })).body).toEqual({ discarded: 0 });
});
