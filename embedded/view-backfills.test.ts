/** Backfills as an embedded engine is asked for them over HTTP: `millrace backfill` does so (test/backfill.test.ts). */
import { expect, onTestFinished, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { positionEventId, textEventId } from '../engine/event-id.ts';
import { StoreUnavailableError } from '../engine/store/store-errors.ts';
import { type BuiltRow, type BuiltState, StateBuilder } from '../engine/tiles/state-builder.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { compose } from './runtime.ts';
import { openMemoryStorage } from './storage.ts';
import { mendableDefinitions } from './testing/mendable-repo.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS, payment, testRepo } from './testing/test-repo.ts';

const URL = '/v1/views/spend/backfill';
const view = testRepo.views.get('spend')!;
const { fingerprint } = view;

async function open(): Promise<TestEngine> {
  const engine = await TestEngine.open({ partitions: 1 });
  onTestFinished(() => engine.close());
  return engine;
}

/** Of one payment at noon, as JSON. */
function stateOf(card: string, id = `history-${card}`): object {
  const event = payment({ id, card, points: null, refused: null }) as EventRow;
  const eventId = textEventId(id);
  const row = { appendedMs: NOON_MS, timeMs: NOON_MS, id: eventId, dedupeId: eventId };
  return asSent(card, builtOf(view, [{ ...row, values: view.project(event)! }]));
}
function builtOf(of: CompiledView, rows: readonly BuiltRow[]): BuiltState {
  const builder = new StateBuilder(of);
  builder.add(rows, NOON_MS);
  return builder.finish(NOON_MS)!;
}
function asSent(key: string, { head, fields, dueMs }: BuiltState): object {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return {
    ...{ key, head: base64(head), due_ms: dueMs },
    fields: Object.fromEntries([...fields].map(([name, bytes]) => [name, base64(bytes)])),
  };
}
const counted = async (engine: TestEngine, card: string): Promise<number> =>
  (await engine.read('card', { entities: { card } })).body.features.payments_ever;
const state = async (engine: TestEngine): Promise<string> =>
  (await engine.get('/v1/views/spend/rebuild')).body.state;
const reached = (engine: TestEngine, what: string): Promise<void> =>
  waitUntil(async () => (await state(engine)) === what, { what, timeoutMs: 20_000 });
const begin = (engine: TestEngine, more: object = {}) => engine.post(URL, { fingerprint, ...more });

test('states are written, the log is applied behind them, and the view is read from the new state', async () => {
  const engine = await open();
  await engine.push('payments', [payment({ id: 'a', card: 'c1' })]);
  const { status, body: terms } = await begin(engine);
  expect(status).toBe(200);
  expect(terms).toEqual({
    namespace: terms.namespace,
    cut: [0],
    now_ms: NOON_MS,
    resumed: false,
    open: true,
  });
  const { namespace } = terms;
  const states = [stateOf('c1'), stateOf('c2')];
  expect((await engine.post(`${URL}/states`, { namespace, states })).body).toEqual({ written: 2 });
  expect((await engine.post(`${URL}/states`, { namespace, states })).body).toEqual({ written: 0 });
  await reached(engine, 'backfilling');
  // Answers are those of before.
  expect([await counted(engine, 'c1'), await counted(engine, 'c2')]).toEqual([1, 0]);
  const metrics = (await engine.get('/metrics')).body as string;
  expect(metrics).toContain('millrace_rebuild_state{view="spend",state="backfilling"} 1');

  expect((await engine.get('/readyz')).body.warnings).toEqual([
    expect.stringContaining('view spend is being filled from a history, and the log is kept for it'),
  ]);

  // What was begun before a restart goes on only where it is begun again.
  await engine.restart();
  await reached(engine, 'backfilling');
  const lost = await engine.post(`${URL}/complete`, { namespace, newest_ms: [NOON_MS], unapplied: [] });
  expect([lost.status, lost.body.error.code]).toEqual([409, 'backfill_lost']);
  expect((await begin(engine)).body).toMatchObject({ namespace, resumed: true, open: true });
  expect(
    (await engine.post(`${URL}/complete`, { namespace, newest_ms: [NOON_MS], unapplied: [] })).status,
  ).toBe(200);
  await reached(engine, 'switched');
  expect((await engine.get('/readyz')).body.warnings).toEqual([]);
  expect([await counted(engine, 'c1'), await counted(engine, 'c2')]).toEqual([2, 1]);
  // Told by what the history wrote.
  await engine.push('payments', [
    payment({ id: 'history-c2', card: 'c2' }),
    payment({ id: 'b', card: 'c2' }),
  ]);
  expect(await counted(engine, 'c2')).toBe(2);
  await engine.restart();
  expect([await counted(engine, 'c1'), await counted(engine, 'c2')]).toEqual([2, 2]);
});

test('of what the history counts a dead letter is not replayed, of what it could not use it is', async () => {
  // So old that compaction merges rows: nothing in the state tells one from the other.
  const timeMs = NOON_MS - 20 * 86_400_000;
  const swipe = (amount: number) => ({ at: timeMs, card: 'c1', amount });
  const engine = await TestEngine.open({
    ...{ partitions: 1, repo: compileRepo(mendableDefinitions(true)) },
    pacing: { foldAfterMs: 0 },
  });
  onTestFinished(() => engine.close());
  await engine.push('swipes', [swipe(1), swipe(13), swipe(13)]);
  const mended = compileRepo(mendableDefinitions(false));
  await engine.restart({ repo: mended });
  const careful = mended.views.get('careful')!;
  const url = '/v1/views/careful/backfill';
  const positions = [{ nextOffset: 3, logIdentity: null, gaps: [] }];
  const { body } = await engine.post(url, { fingerprint: careful.fingerprint, positions });
  expect(body.cut).toEqual([3]);
  const { namespace } = body;
  // The last one is still of no use to it.
  const rows = [0, 1].map((offset) => ({
    ...{ appendedMs: NOON_MS, timeMs, id: positionEventId(0, offset), dedupeId: null },
    values: careful.project(swipe(13) as EventRow)!,
  }));
  const states = [asSent('c1', builtOf(careful, rows))];
  expect((await engine.post(`${url}/states`, { namespace, states })).body).toEqual({ written: 1 });
  const complete = (unapplied: unknown) =>
    engine.post(`${url}/complete`, { namespace, newest_ms: [NOON_MS], unapplied });
  for (const wrong of [
    undefined,
    {},
    [{ from: 0 }],
    [{ from: -1, ranges: [] }],
    [{ from: 0, ranges: [[2, 2]] }],
  ])
    expect((await complete(wrong)).body.error.code).toBe('invalid_body');
  expect((await complete([{ from: 0, ranges: [[2, 3]] }])).status).toBe(200);
  await waitUntil(async () => (await engine.get('/v1/views/careful/rebuild')).body.state === 'switched', {
    ...{ what: 'it is switched to', timeoutMs: 20_000 },
  });
  const ever = async () =>
    (await engine.read('swipes_of_card', { entities: { card: 'c1' } })).body.features.careful_ever;
  engine.clock.advanceTo(NOON_MS + 86_400_000);
  expect(await engine.engine.compact()).toBeGreaterThan(0);
  expect(await ever()).toBe(2);
  expect((await engine.post('/v1/sources/swipes/dead-letters/replay', {})).body).toMatchObject({
    replayed: 2,
  });
  await engine.push('swipes', [swipe(1)]);
  expect(await ever()).toBe(4);
});

test('one that is given up takes nothing more', async () => {
  const engine = await open();
  const { namespace } = (await begin(engine)).body;
  await engine.engine.app.inject({ method: 'DELETE', url: '/v1/views/spend/rebuild' });
  const late = await engine.post(`${URL}/states`, { namespace, states: [stateOf('c1')] });
  expect([late.status, late.body.error.code]).toEqual([409, 'backfill_lost']);
});

test('is refused where it cannot be right', async () => {
  const engine = await open();
  await engine.push('payments', [payment({ id: 'a' })]);
  const codeOf = async (more: object) => (await begin(engine, more)).body.error.code;
  const position = { nextOffset: 0, logIdentity: null, gaps: [] };
  expect(await codeOf({ positions: [{ ...position, nextOffset: 9 }] })).toBe('history_of_other_log');
  expect(await codeOf({ positions: [{ ...position, logIdentity: 'other' }] })).toBe('history_of_other_log');
  const gap = { fromOffset: 0, toOffset: 1, afterMs: null, untilMs: NOON_MS };
  const lacking = { positions: [{ ...position, nextOffset: 1, gaps: [gap] }] };
  expect(await codeOf(lacking)).toBe('log_too_short');
  expect(await codeOf({ fingerprint: 'another' })).toBe('invalid_body');
  for (const positions of [[{}], 'all', [{ ...position, nextOffset: -1 }]])
    expect(await codeOf({ positions })).toBe('invalid_body');
  expect(await codeOf({ position })).toBe('unknown_field');
  expect((await engine.post('/v1/views/none/backfill', { fingerprint })).body.error.code).toBe(
    'unknown_view',
  );
  expect(await state(engine)).toBe('none');

  const { namespace } = (await begin(engine, { ...lacking, accept_gap: true })).body;
  const send = async (states: unknown) =>
    (await engine.post(`${URL}/states`, { namespace, states })).body.error.code;
  for (const states of [
    {},
    [{ ...stateOf('c1'), head: 'no base64!' }],
    [{ ...stateOf('c1'), fields: { '…': '' } }],
  ])
    expect(await send(states)).toBe('invalid_body');
  expect((await engine.post(`${URL}/states`, { namespace: 'x', states: [] })).body.error.code).toBe(
    'invalid_body',
  );
});

test('whoever watches one by its namespace is told how that one ended, whatever the view is filled with since', async () => {
  const engine = await open();
  await engine.push('payments', [payment({ id: 'a', card: 'c1' })]);
  const stateOfOne = async (namespace: string) =>
    (await engine.get(`${URL}?namespace=${namespace}`)).body.state;
  const untilStateOf = (namespace: string, what: string): Promise<void> =>
    waitUntil(async () => (await stateOfOne(namespace)) === what, { what, timeoutMs: 20_000 });
  const first = (await begin(engine)).body.namespace;
  await untilStateOf(first, 'backfilling');
  await engine.engine.app.inject({ method: 'DELETE', url: '/v1/views/spend/rebuild' });
  expect(await stateOfOne(first)).toBe('given_up');

  const second = (await begin(engine)).body.namespace;
  expect(await stateOfOne(first)).toBe('given_up');
  await untilStateOf(second, 'backfilling');
  expect(await stateOfOne(first)).toBe('given_up');
  // Nor is anything of the former one taken for the one that is under way.
  for (const [what, body] of [
    ['states', { states: [stateOf('c1')] }],
    ['complete', { newest_ms: [-1], unapplied: [] }],
  ] as const) {
    const late = await engine.post(`${URL}/${what}`, { namespace: first, ...body });
    expect([late.status, late.body.error?.code], what).toEqual([409, 'backfill_lost']);
  }
  expect(await stateOfOne(second)).toBe('backfilling');
  await engine.post(`${URL}/complete`, { namespace: second, newest_ms: [-1], unapplied: [] });
  await untilStateOf(second, 'switched');
  expect(await stateOfOne(first)).toBe('given_up');

  const third = (await begin(engine)).body.namespace;
  await untilStateOf(third, 'backfilling');
  expect([await stateOfOne(first), await stateOfOne(second)]).toEqual(['given_up', 'switched']);
  for (const wrong of ['', '?namespace=x'])
    expect((await engine.get(URL + wrong)).body.error.code).toBe('invalid_body');
});

test('a view that is made anew in another way is not filled', async () => {
  const storage = openMemoryStorage();
  const { compareAndSetRecord } = storage.store;
  let writes = 1;
  // The rebuild is begun, and takes no further step.
  storage.store.compareAndSetRecord = async (write) => {
    if (writes-- <= 0) throw new StoreUnavailableError('no answer');
    return compareAndSetRecord.call(storage.store, write);
  };
  const engine = await compose({ repo: testRepo, wallClock: new ManualClock(NOON_MS) }, storage);
  onTestFinished(() => engine.close());
  const post = async (url: string, payload: object) => {
    const { statusCode, body } = await engine.app.inject({ method: 'POST', url, payload });
    return [statusCode, JSON.parse(body).error?.code];
  };
  expect(await post('/v1/views/spend/rebuild', {})).toEqual([200, undefined]);
  expect(await post(URL, { fingerprint })).toEqual([409, 'other_rebuild']);
});

test('once it is completed nobody is to write states any more, although the log is not applied yet', async () => {
  const storage = openMemoryStorage();
  const { moveWatermarks } = storage.store;
  let building = '';
  let moves = 1;
  // It is completed, and then nothing is applied to it.
  storage.store.moveWatermarks = async (watermarks) => {
    if (watermarks.some(({ name }) => name.namespace === building) && moves-- <= 0)
      throw new StoreUnavailableError('no answer');
    return moveWatermarks.call(storage.store, watermarks);
  };
  const engine = await compose(
    { repo: testRepo, wallClock: new ManualClock(NOON_MS), partitions: 1 },
    storage,
  );
  onTestFinished(() => engine.close());
  const post = async (url: string, payload: object) =>
    JSON.parse((await engine.app.inject({ method: 'POST', url, payload })).body);
  const event = payment({ id: 'a', card: 'c1' });
  await post('/v1/sources/payments/events?wait=applied', { events: [event] });
  const positions = [{ nextOffset: 0, logIdentity: null, gaps: [] }];
  const terms = await post(URL, { fingerprint, positions });
  expect(terms).toMatchObject({ open: true, resumed: false });
  building = terms.namespace;
  expect(await post(URL, { fingerprint, positions })).toMatchObject({
    namespace: building,
    open: true,
    resumed: true,
  });
  await post(`${URL}/complete`, { namespace: building, newest_ms: [-1], unapplied: [] });
  // What is read has the payment, and this one does not yet: so it is not switched to.
  expect(await post(URL, { fingerprint, positions })).toMatchObject({
    namespace: building,
    open: false,
    resumed: true,
  });
});
