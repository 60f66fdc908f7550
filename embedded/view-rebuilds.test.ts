import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { StoreFullError, StoreUnavailableError } from '../engine/store/store-errors.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { truncateLog } from '../ingest/log-retention.ts';
import { Backfill } from '../roles/backfill.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { ViewRebuild } from '../roles/view-rebuild.ts';
import { Metrics } from '../serve/metrics.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { compose, type Embedded, openEmbedded } from './runtime.ts';
import { openLmdbStorage, openMemoryStorage } from './storage.ts';
import { mendableDefinitions } from './testing/mendable-repo.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS, payment, testRepo } from './testing/test-repo.ts';
import { ViewRebuilds } from './view-rebuilds.ts';

const URL = '/v1/views/spend/rebuild';

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'millrace-rebuild-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function open(
  dataDir: string,
  options: Partial<Parameters<typeof openEmbedded>[0]> = {},
): Promise<Embedded> {
  const wallClock = new ManualClock(NOON_MS);
  const engine = await openEmbedded({
    repo: testRepo,
    dataDir,
    flush: false,
    wallClock,
    partitions: 2,
    ...options,
  });
  onTestFinished(() => engine.close());
  await engine.ready();
  return engine;
}

const ask = async (engine: Embedded, method: 'GET' | 'POST' | 'DELETE', query = '') => {
  const { statusCode, body } = await engine.app.inject({ method, url: URL + query });
  return { status: statusCode, body: JSON.parse(body) };
};
const ended = (engine: Embedded, state: string): Promise<void> =>
  waitUntil(async () => (await ask(engine, 'GET')).body.state === state, { what: state, timeoutMs: 20_000 });

let pushed = 0;
async function push(engine: Embedded, count: number): Promise<void> {
  const events = Array.from({ length: count }, () => payment({ id: `e${pushed++}`, at: NOON_MS - pushed }));
  const payload = { events };
  const url = '/v1/sources/payments/events?wait=applied';
  expect((await engine.app.inject({ method: 'POST', url, payload })).statusCode).toBe(200);
}
async function read(engine: Embedded): Promise<{ value: number; status: string }> {
  const payload = { entities: { card: 'c1' }, metadata: true };
  const { body } = await engine.app.inject({ method: 'POST', url: '/v1/services/card/features', payload });
  const { features, metadata } = JSON.parse(body);
  return { value: features.payments_1h, status: metadata.features.payments_1h.status };
}

test('a view is rebuilt while it is pushed to and read, and is read from its new state after a restart, too', async () => {
  pushed = 0;
  const dataDir = await directory();
  const engine = await open(dataDir, { consumer: { chunkRecords: 50 } });
  for (let i = 0; i < 20; i++) await push(engine, 500);
  const counts = { applied_records: 0, total_records: 0, dead_letters: 0 };
  expect((await ask(engine, 'GET')).body).toEqual({ state: 'none', reason: null, ...counts });
  expect(await engine.metrics.text()).not.toContain('millrace_rebuild_state{');
  expect((await ask(engine, 'POST')).status).toBe(200);
  let over = false;
  const loading = (async () => {
    while (!over) {
      await push(engine, 3);
      expect(await read(engine)).toEqual({ value: pushed, status: 'present' });
    }
  })();
  await ended(engine, 'switched');
  const before = pushed;
  await waitUntil(() => pushed > before + 20, { what: 'pushes after the switch', timeoutMs: 20_000 });
  over = true;
  await loading;
  const { body } = await ask(engine, 'GET');
  expect(body.applied_records).toBeGreaterThanOrEqual(10_000);
  const metrics = await engine.metrics.text();
  expect(metrics).toContain(`millrace_events_applied_total{view="spend",outcome="applied"} ${pushed}`);
  expect(metrics).toContain('millrace_rebuild_state{view="spend",state="switched"} 1');
  expect(metrics).toContain('millrace_rebuild_state{view="spend",state="filling"} 0');
  expect(metrics).toContain(`millrace_rebuild_applied_records{view="spend"} ${body.applied_records}`);
  expect(metrics).toContain(`millrace_rebuild_records{view="spend"} ${body.total_records}`);
  await engine.close();

  const again = await open(dataDir);
  expect(await read(again)).toEqual({ value: pushed, status: 'present' });
  await push(again, 5);
  expect(await read(again)).toEqual({ value: pushed, status: 'present' });
});

test('one that was under way when the engine was closed goes on by itself', async () => {
  pushed = 0;
  const dataDir = await directory();
  const engine = await open(dataDir, { consumer: { chunkRecords: 10 } });
  for (let i = 0; i < 20; i++) await push(engine, 500);
  await ask(engine, 'POST');
  await engine.close();
  const again = await open(dataDir);
  await ended(again, 'switched');
  expect(await read(again)).toEqual({ value: pushed, status: 'present' });
});

test('it is given up on request, and refused where the log has lost what the view can reach', async () => {
  pushed = 0;
  const dataDir = await directory();
  const engine = await open(dataDir, { consumer: { chunkRecords: 10 } });
  expect(await ask(engine, 'DELETE')).toMatchObject({ status: 200, body: { state: 'none' } });
  for (let i = 0; i < 20; i++) await push(engine, 500);
  await ask(engine, 'POST');
  expect((await ask(engine, 'DELETE')).body.state).toBe('given_up');
  expect(await read(engine)).toEqual({ value: pushed, status: 'present' });
  const { statusCode, body } = await engine.app.inject({ method: 'POST', url: '/v1/views/spent/rebuild' });
  expect([statusCode, JSON.parse(body).error.code]).toEqual([404, 'unknown_view']);
  expect((await ask(engine, 'POST', '?accept_gap=yes')).body.error.code).toBe('invalid_parameter');
  await engine.close();

  // What retention drops for the log's size may be needed.
  let logged = '';
  const write = (line: string): void => {
    logged += line;
  };
  const small = await open(dataDir, { maxLogBytes: 1_000, logger: pino({ level: 'warn' }, { write }) });
  await waitUntil(
    async () =>
      /millrace_log_truncated_records_total{source="payments"} [1-9]/.test(await small.metrics.text()),
    { what: 'the log is truncated', timeoutMs: 20_000 },
  );
  expect((await ask(small, 'POST')).body.error.code).toBe('log_too_short');
  expect(logged).not.toContain('accepted');
  expect((await ask(small, 'POST', '?accept_gap=true')).status).toBe(200);
  const lines = logged.trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toContainEqual(
    expect.objectContaining({ level: 40, view: 'spend', msg: expect.stringContaining('accepted') }),
  );
  await ended(small, 'switched');
  // At once, and although no record comes any more: what is read now lacks what the log has lost.
  expect((await read(small)).status).toBe('catching_up');
  const { gaps } = JSON.parse((await small.app.inject('/v1/gaps')).body);
  // Nothing is left that would say when the last of it was appended: before the engine's own now.
  const until = new Date(NOON_MS).toISOString();
  const lost = { source: 'payments', partition: 0, from_offset: 0, until };
  expect(gaps[0], JSON.stringify(gaps)).toMatchObject(lost);
});

test('two who ask at the same moment get one rebuild, also after a former one', async () => {
  pushed = 0;
  const ends: unknown[] = [];
  const write = (line: string): void => {
    const { msg, state } = JSON.parse(line);
    if (msg === 'a rebuild has ended') ends.push(state);
  };
  const engine = await open(await directory(), { logger: pino({ level: 'info' }, { write }) });
  await push(engine, 500);
  for (const rebuilds of [1, 2]) {
    const answers = await Promise.all([ask(engine, 'POST'), ask(engine, 'POST'), ask(engine, 'POST')]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    await ended(engine, 'switched');
    await waitUntil(() => ends.length >= rebuilds, { what: 'it has ended', timeoutMs: 20_000 });
  }
  await engine.close();
  expect(ends).toEqual(['switched', 'switched']);
});

test('one from under which the log was taken fails, and says why; it can be given up, or go on with what is left', async () => {
  pushed = 0;
  const dataDir = await directory();
  const open1 = () => open(dataDir, { partitions: 1 });
  const engine = await open1();
  for (let i = 0; i < 20; i++) await push(engine, 500);
  await ask(engine, 'POST');
  await engine.close();
  // As retention does that had begun a moment before.
  const storage = await openLmdbStorage({ dataDir, flush: false });
  const log = await storage.log('payments', 1);
  const all = Number.POSITIVE_INFINITY;
  const keeping = { keepEventTimeMs: all, keepAppendedMs: all, maxBytes: all };
  const dropped = await log.truncate({ partition: 0, beforeOffset: 9_999, ...keeping });
  expect(dropped).toBeGreaterThan(4_000);
  await storage.close();

  const again = await open1();
  await ended(again, 'failed');
  expect((await ask(again, 'GET')).body.reason).toMatch(
    new RegExp(`has lost records \\d+ to ${dropped - 1} before`),
  );
  expect(await again.metrics.text()).toContain('millrace_rebuild_state{view="spend",state="failed"} 1');
  expect(await read(again)).toEqual({ value: pushed, status: 'present' });
  // Asked for again, it has not become any better.
  expect((await ask(again, 'POST')).status).toBe(200);
  await ended(again, 'failed');
  expect((await ask(again, 'DELETE')).body).toMatchObject({ state: 'given_up', reason: null });
  expect((await ask(again, 'POST')).body.error.code).toBe('log_too_short');
  expect((await ask(again, 'POST', '?accept_gap=true')).status).toBe(200);
  await ended(again, 'switched');
  expect((await read(again)).status).toBe('catching_up');
});

test('what the present state counts and the code of today cannot use is a dead letter; what was one is no other', async () => {
  const careful = '/v1/views/careful/rebuild';
  const swipe = (amount: number) => ({ at: NOON_MS, card: 'c1', amount });
  const it = await TestEngine.open({ repo: compileRepo(mendableDefinitions(true)) });
  onTestFinished(() => it.close());
  await it.push('swipes', [swipe(13), swipe(1)]);
  await it.restart({ repo: compileRepo(mendableDefinitions(false)) });
  await it.push('swipes', [swipe(13)]);
  const letters = async () => {
    const { body } = await it.get('/v1/sources/swipes/dead-letters');
    return body.letters.map(({ offset }: { offset: number }) => offset);
  };
  expect(await letters()).toEqual([0]);

  await it.restart({ repo: compileRepo(mendableDefinitions(true)) });
  expect((await it.post(careful, {})).status).toBe(200);
  await waitUntil(async () => (await it.get(careful)).body.state === 'switched', {
    what: 'it is switched to',
    timeoutMs: 20_000,
  });
  expect((await it.get(careful)).body).toMatchObject({ applied_records: 3, dead_letters: 1 });
  expect(await letters()).toEqual([0, 2]);
  expect((await it.get('/metrics')).body).toContain(
    'millrace_dead_letters_total{source="swipes",reason="filter_or_projection"} 1',
  );
  const { body } = await it.read('swipes_of_card', { entities: { card: 'c1' } });
  expect(body.features).toMatchObject({ careful_ever: 1, plain_1d: 3 });
});

test('a store that has no room, or does not answer, is said to be the reason; nothing is begun or given up', async () => {
  let error = new Error();
  let writes = 0;
  const storage = openMemoryStorage();
  const { compareAndSetRecord } = storage.store;
  storage.store.compareAndSetRecord = async (write) => {
    if (writes-- <= 0) throw error;
    return compareAndSetRecord.call(storage.store, write);
  };
  const engine = await compose({ repo: testRepo, wallClock: new ManualClock(NOON_MS) }, storage);
  onTestFinished(() => engine.close());
  error = new StoreFullError('the disk is full');
  const full = await ask(engine, 'POST');
  const { code, message } = full.body.error;
  expect([full.status, code, message]).toEqual([503, 'store_full', 'the disk is full']);
  error = new StoreUnavailableError('no answer');
  expect((await ask(engine, 'POST')).body.error.code).toBe('store_unavailable');
  expect((await ask(engine, 'GET')).body.state).toBe('none');
  // Room for its beginning, but for none of its steps.
  writes = 1;
  expect((await ask(engine, 'POST')).status).toBe(200);
  expect((await ask(engine, 'DELETE')).body.error.code).toBe('store_unavailable');
  expect((await ask(engine, 'GET')).body.state).toBe('filling');
  writes = Number.POSITIVE_INFINITY;
  expect((await ask(engine, 'DELETE')).body.state).toBe('given_up');
});

test('of the log a rebuild needs what it has not applied, and a backfill what lies behind its cut', async () => {
  const newToken = randomTokens();
  const source = testRepo.sources.get('payments')!;
  const view = testRepo.views.get('spend')!;
  const clock = new ManualClock(NOON_MS);
  const log = new MemoryEventLog({ source: 'payments', partitions: 2, random: newToken, segmentRecords: 1 });
  for (let i = 0; i < 12; i++) {
    const value = Buffer.from(JSON.stringify(payment({ id: `n${i}` })));
    await log.append([{ partition: i % 2, appendedMs: NOON_MS, stamp: null, value, eventTimeMs: NOON_MS }]);
  }
  const store = new MemoryTileStore({ random: newToken });
  const bindings = new ViewBindings({ views: source.views, store, clock, newToken: () => newToken() });
  const writing = {
    ...{ store, clock, shards: 1, newToken, shape: DEFAULT_TILE_SHAPE },
    ...{ pacing: DEFAULT_PACING, rules: PROTOCOL },
  };
  const over = new AbortController();
  const open = () =>
    new ViewRebuilds({
      sources: [{ source, log, partitions: 2, letters: { write: async () => {} } }],
      ...{ bindings, writing, wallClock: clock, missing: () => {} },
      ...{ metrics: new Metrics(), signal: over.signal },
    });
  const rebuilds = open();
  onTestFinished(async () => {
    over.abort();
    await rebuilds.settled();
  });
  const needed = () => [0, 1].map((partition) => rebuilds.neededFrom(source, partition));
  const all = Number.POSITIVE_INFINITY;
  expect(needed()).toEqual([all, all]);
  const options = { source, bindings, writing, log, nowMs: () => clock.nowMs(), graceMs: 1_000 };
  // Of its partitions one is applied, the other not even begun.
  const other = testRepo.views.get('refusals')!;
  const { moveWatermarks } = store;
  store.moveWatermarks = async (moves) => {
    if (moves.some(({ name }) => name.partition === 1)) throw new StoreUnavailableError('no answer');
    return moveWatermarks.call(store, moves);
  };
  await rebuilds.start(other, { acceptGap: false });
  expect(needed()).toEqual([0, 0]);
  await waitUntil(() => needed()[0] === 6, { what: 'a partition is applied', timeoutMs: 20_000 });
  expect(needed()).toEqual([6, 0]);
  await rebuilds.abort(other);
  store.moveWatermarks = moveWatermarks;
  expect(needed()).toEqual([all, all]);

  const upTo = (nextOffset: number) => ({ nextOffset, logIdentity: null, gaps: [] });
  const backfill = await Backfill.begin({ ...options, view, positions: [upTo(4), upTo(0)] });
  // Nobody has looked at it yet.
  expect(needed()).toEqual([4, 0]);
  await rebuilds.start(view, { acceptGap: false });
  const reached = (what: string): Promise<void> =>
    waitUntil(() => rebuilds.status(view).state === what, { what, timeoutMs: 20_000 });
  await reached('backfilling');
  expect(needed()).toEqual([4, 0]);
  const truncate = () =>
    truncateLog({
      ...{ source, log, clock, wallClock: clock, retention: { minAgeMs: 0, maxBytes: 0 } },
      appliedOffset: (partition) => Math.min(6, rebuilds.neededFrom(source, partition)),
      storeFlushed: async () => {},
    });
  expect(await truncate()).toBe(4);
  // Of two views the one that needs more decides; this one nobody drives here.
  await ViewRebuild.begin({ ...options, view: other, check: async () => {} });
  expect(needed()).toEqual([0, 0]);
  await rebuilds.abort(other);
  expect(needed()).toEqual([4, 0]);
  await backfill.start();
  await backfill.complete([NOON_MS, -1], []);
  await reached('switched');
  expect(needed()).toEqual([all, all]);
});
