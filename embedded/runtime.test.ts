import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { DirectoryLockedError } from '../engine/store/directory-lock.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import { compileRepo, count, featureService, featureView, sum } from '../index.ts';
import type { EventLog, LogRecord } from '../ingest/log/event-log.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import { compose, type Embedded, openEmbedded, openInMemory, type RuntimeOptions } from './runtime.ts';
import { openLmdbStorage, openMemoryStorage, type Storage } from './storage.ts';
import { TestEngine } from './testing/test-engine.ts';
import { card, cardService, NOON_MS, payment, payments, testRepo } from './testing/test-repo.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(options: Parameters<typeof TestEngine.open>[0] = {}): Promise<TestEngine> {
  const it = await TestEngine.open(options);
  closers.push(() => it.close());
  return it;
}

async function composeOver(storage: Storage, options: Partial<RuntimeOptions> = {}): Promise<Embedded> {
  const engine = await compose({ repo: testRepo, wallClock: new ManualClock(NOON_MS), ...options }, storage);
  closers.push(() => engine.close());
  return engine;
}

async function post(engine: Embedded, url: string, payload: object) {
  const response = await engine.app.inject({ method: 'POST', url, payload });
  return { status: response.statusCode, body: response.json(), headers: response.headers };
}

const ask = (engine: Embedded, key: string) =>
  post(engine, '/v1/services/card/features', { entities: { card: key }, metadata: true });

/** Something that happens when the test says so. */
function gate(): { readonly opened: Promise<void>; open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Resolves when the condition holds, looking again on every turn of the event loop. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}

/** The same storage, with something put before certain calls. */
function wrapped(
  storage: Storage,
  before: {
    logRead?: (source: string) => Promise<void>;
    append?: (source: string) => Promise<void>;
    storeRead?: () => Promise<void>;
    compareAndSet?: () => Promise<void>;
  },
): Storage {
  const { store } = storage;
  return {
    store: new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          if (name === 'read') await before.storeRead?.();
          if (name === 'compareAndSet') await before.compareAndSet?.();
          return value.apply(target, args);
        };
      },
    }),
    storeFlushed: () => storage.storeFlushed(),
    async log(name, partitions) {
      const log = await storage.log(name, partitions);
      return new Proxy(log, {
        get(target, property) {
          const value = Reflect.get(target, property) as unknown;
          if (typeof value !== 'function') return value;
          return async (...args: unknown[]) => {
            if (property === 'read') await before.logRead?.(name);
            if (property === 'append') await before.append?.(name);
            return value.apply(target, args);
          };
        },
      });
    },
    close: () => storage.close(),
  };
}

async function recordsOf(log: EventLog): Promise<LogRecord[]> {
  const { records } = await log.read({ partition: 0, fromOffset: 0, maxRecords: 1_000, maxBytes: 1e9 });
  return [...records];
}

describe('an engine on a directory', () => {
  test('has its data after a restart, and still tells duplicates', async () => {
    const it = await open();
    const events = [payment({ card: 'kept', amount: 1 }), payment({ card: 'kept', amount: 2 })];
    await it.post('/v1/sources/payments/events', { events });
    await it.restart();
    await it.engine.ready();
    const { body } = await it.read('card', { entities: { card: 'kept' } });
    expect(body.features).toMatchObject({ payments_1h: 2, amount_sum_1h: 3, payments_ever: 2 });
    expect((await it.push('payments', events)).body).toMatchObject({ accepted: 0, duplicates: 2 });
    await it.restart({ recentIds: 1 });
    // One of the ids is forgotten here; the state of its key knows it all the same.
    const again = await it.push('payments', events.toReversed());
    expect(again.body).toMatchObject({ accepted: 1, duplicates: 1 });
    expect((await it.read('card', { entities: { card: 'kept' } })).body.features.payments_ever).toBe(2);
  });

  test('belongs to one process at a time', async () => {
    const it = await open();
    const second = openEmbedded({ repo: testRepo, dataDir: it.dataDir });
    await expect(second).rejects.toThrow(DirectoryLockedError);
    expect((await it.push('payments', [payment({ card: 'locked' })])).status).toBe(200);
  });

  test('takes more partitions later, and events of an id meet again', async () => {
    const it = await open();
    const before = Array.from({ length: 20 }, () => payment({ card: 'spread' }));
    await it.push('payments', before);
    await it.restart({ partitions: 4 });
    const after = Array.from({ length: 20 }, () => payment({ card: 'spread' }));
    expect((await it.push('payments', [...after, ...before])).body).toMatchObject({
      accepted: 20,
      duplicates: 20,
    });
    expect((await it.read('card', { entities: { card: 'spread' } })).body.features.payments_ever).toBe(40);
  });

  test('gives the same values before and after compaction', async () => {
    const it = await open({ shape: { leafBytesMax: 100, tailRowsMax: 4 } });
    const events = Array.from({ length: 60 }, (_, i) =>
      payment({ card: 'fold', at: NOON_MS - i * 120_000, amount: i }),
    );
    await it.push('payments', events);
    const values = async () => {
      const rows = [0, 1, 7, 59, 90, 300].map((m) => ({
        entities: { card: 'fold' },
        at: NOON_MS - m * 60_000,
      }));
      return (await it.post('/v1/services/card/features/batch', { rows })).body;
    };
    const before = await values();
    it.clock.advanceTo(NOON_MS + 3_600_000 - 1);
    expect(await it.engine.compact()).toBeGreaterThan(0);
    expect(await values()).toEqual(before);
    await it.restart();
    expect(await values()).toEqual(before);
  });
});

describe('an added view', () => {
  const pages = featureView({
    name: 'added',
    source: payments,
    entity: card,
    features: { added_count: count().over('1h'), added_sum: sum('amount').over('1h') },
  });
  const added = featureService({ name: 'card_added', features: [pages] });
  const grown = compileRepo([cardService, added]);

  test('fills itself from the start of the log, catching_up until it is there, and holds nobody back', async () => {
    const it = await open();
    const events = Array.from({ length: 50 }, () => payment({ card: 'grow', amount: 2 }));
    await it.push('payments', events);
    await it.engine.close();

    const { opened, open: openGate } = gate();
    const storage = wrapped(await openLmdbStorage({ dataDir: it.dataDir, flush: false }), {
      logRead: () => opened,
    });
    const engine = await compose(
      // Ids are read from the log at the start, which waits here.
      { repo: grown, wallClock: it.clock, recentIds: 0, consumer: { chunkRecords: 7 } },
      storage,
    );
    const asks = async () =>
      (await post(engine, '/v1/services/card_added/features', { entities: { card: 'grow' } })).body;
    expect(await asks()).toMatchObject({
      features: { added_count: 0, added_sum: 0 },
      metadata: {
        features: { added_count: { status: 'catching_up' }, added_sum: { status: 'catching_up' } },
      },
    });
    const old = await ask(engine, 'grow');
    expect(old.body.features.payments_1h).toBe(50);
    expect(old.body.metadata.features.payments_1h.status).toBe('present');

    openGate();
    await engine.ready();
    expect(await asks()).toEqual({ features: { added_count: 50, added_sum: 100 } });
    await engine.push.push('payments', [payment({ card: 'grow' })], { wait: 'applied' });
    expect((await asks()).features.added_count).toBe(51);
    expect((await ask(engine, 'grow')).body.features.payments_1h).toBe(51);
    await engine.close();
    await it.restart();
  });
});

describe('the event clock', () => {
  const event = (atMs: number) => payment({ card: 'old', at: atMs });
  const YEAR_AGO_MS = NOON_MS - 365 * 86_400_000;

  test('is 0 before the first event, then the highest event time, also after a restart', async () => {
    const it = await open({ clock: 'event' });
    expect(it.engine.clock.nowMs()).toBe(0);
    const before = await it.read('card', { entities: { card: 'old' }, metadata: true });
    expect(before.body).toMatchObject({ features: { payments_1h: 0 }, metadata: { at_ms: 0 } });
    await it.push('payments', [event(YEAR_AGO_MS), event(YEAR_AGO_MS - 1_000)]);
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS);
    await it.restart();
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS);
    const { body } = await it.read('card', { entities: { card: 'old' }, metadata: true });
    expect(body).toMatchObject({ features: { payments_1h: 2 }, metadata: { at_ms: YEAR_AGO_MS } });
  });

  test('is the only one that a directory filled by it is opened with', async () => {
    const it = await open({ clock: 'event' });
    await it.push('payments', [event(YEAR_AGO_MS)]);
    await expect(it.restart({ clock: 'wall' })).rejects.toThrow(StoreFormatError);
    await it.restart();
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS);
    // The default says wall.
    const live = await open();
    await expect(live.restart({ clock: 'event' })).rejects.toThrow(/is filled by the wall clock/);
    await live.restart({ clock: 'wall' });
  });

  test('is the least over the sources that have events', async () => {
    const it = await open({ clock: 'event' });
    await it.push('clicks', [{ at: YEAR_AGO_MS + 5_000, card: 'old', page: 'x' }]);
    await it.push('payments', [event(YEAR_AGO_MS + 9_000)]);
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS + 5_000);
    await it.push('clicks', [{ at: YEAR_AGO_MS + 20_000, card: 'old', page: 'x' }]);
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS + 9_000);
  });

  test('does not go back at a restart, also where a source has old events only', async () => {
    const it = await open({ clock: 'event' });
    await it.push('payments', [event(YEAR_AGO_MS + 50_000_000)]);
    await it.push('clicks', [{ at: YEAR_AGO_MS, card: 'old', page: 'x' }]);
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS + 50_000_000);
    await it.restart();
    expect(it.engine.clock.nowMs()).toBe(YEAR_AGO_MS + 50_000_000);
    const old = await it.read('card', { entities: { card: 'old' }, at: YEAR_AGO_MS + 5_000 });
    expect(old.body.error.code).toBe('at_too_old');
  });

  test('an event may be asked about however far it is ahead of the replay, but not of the wall clock', async () => {
    const it = await open({ clock: 'event' });
    await it.push('payments', [event(YEAR_AGO_MS)]);
    const asked = (atMs: number) => it.read('card', { event: { source: 'payments', data: event(atMs) } });
    expect((await asked(YEAR_AGO_MS + 86_400_000)).body.features.payments_ever).toBe(2);
    expect((await asked(NOON_MS + 600_001)).body.error.code).toBe('invalid_event');
    const old = await it.read('card', { entities: { card: 'old' }, at: YEAR_AGO_MS - 21_600_001 });
    expect(old.body.error.code).toBe('at_too_old');
  });
});

describe('an event that a view cannot use', () => {
  test('goes to the dead letters of that view, and counts in the others', async () => {
    const storage = openMemoryStorage();
    const engine = await composeOver(storage);
    const bad = payment({ card: 'neg', shop: 'neg', amount: -1 });
    await engine.push.push('payments', [bad], { wait: 'applied' });
    expect((await ask(engine, 'neg')).body.features.amount_sum_1h).toBe(-1);
    const letters = (await recordsOf(await storage.log('payments.dead_letters', 1))).map(({ value }) =>
      JSON.parse(Buffer.from(value!).toString()),
    );
    expect(letters).toMatchObject([
      {
        ...{ reason: 'filter_or_projection', source: 'payments', partition: 0, offset: 0, view: 'shops' },
        ...{ appendedMs: NOON_MS, stamp: null },
      },
    ]);
    expect(JSON.parse(Buffer.from(letters[0].value, 'base64').toString())).toMatchObject({
      id: bad.id,
      amount: -1,
    });
    const metrics = (await engine.app.inject('/metrics')).body;
    expect(metrics).toContain(
      'millrace_dead_letters_total{source="payments",reason="filter_or_projection"} 1',
    );
  });
});

describe('when storage fails', () => {
  test('reads answer store_unavailable, with no word of the cause, and recover', async () => {
    let broken = false;
    const storage = wrapped(openMemoryStorage(), {
      storeRead: async () => {
        if (broken) throw new Error('secret cause');
      },
    });
    const engine = await composeOver(storage);
    broken = true;
    const answer = await ask(engine, 'x');
    expect(answer).toMatchObject({ status: 503, body: { error: { code: 'store_unavailable' } } });
    expect(answer.headers['retry-after']).toBe('1');
    expect(JSON.stringify(answer.body)).not.toContain('secret');
    const batch = await post(engine, '/v1/services/card/features/batch', {
      rows: [{ entities: { card: 'x' } }],
    });
    expect(batch.status).toBe(503);
    broken = false;
    expect((await ask(engine, 'x')).status).toBe(200);
  });

  test('a failing consumer makes the process not ready, and it recovers by itself', async () => {
    let broken = true;
    const storage = wrapped(openMemoryStorage(), {
      compareAndSet: async () => {
        if (broken) throw new Error('the disk says no');
      },
    });
    const engine = await composeOver(storage, { appliedTimeoutMs: 1 });
    const pushed = await post(engine, '/v1/sources/payments/events?wait=applied', {
      events: [payment({ card: 'r' })],
    });
    expect(pushed).toMatchObject({ status: 503, body: { error: { code: 'not_applied_in_time' } } });
    await until(async () => (await engine.app.inject('/readyz')).statusCode === 503);
    expect((await engine.app.inject('/readyz')).json()).toMatchObject({
      error: { code: 'not_ready', details: { reasons: [expect.stringContaining('source payments')] } },
    });
    expect((await engine.app.inject('/healthz')).statusCode).toBe(200);
    expect((await engine.app.inject('/metrics')).body).toContain('millrace_ready 0');
    broken = false;
    await engine.ready();
    await until(() => engine.readiness().ready);
    expect((await ask(engine, 'r')).body.features.payments_1h).toBe(1);
  });

  test('an append that fails acknowledges nothing and forgets the ids', async () => {
    let broken = true;
    const storage = wrapped(openMemoryStorage(), {
      append: async () => {
        if (broken) throw new Error('no');
      },
    });
    const engine = await composeOver(storage);
    const body = { events: [payment({ card: 'a' })] };
    const url = '/v1/sources/payments/events?wait=applied';
    expect(await post(engine, url, body)).toMatchObject({
      status: 503,
      body: { error: { code: 'log_unavailable' } },
    });
    broken = false;
    expect((await post(engine, url, body)).body).toMatchObject({ accepted: 1, duplicates: 0 });
  });

  test('a full log answers log_full', async () => {
    const memory = openMemoryStorage();
    const random = () => randomBytes(8).toString('hex');
    const full = new MemoryEventLog({ source: 'payments', partitions: 1, random, maxBytes: 500 });
    const engine = await composeOver({
      ...memory,
      log: async (name, n) => (name === 'payments' ? full : memory.log(name, n)),
    });
    const url = '/v1/sources/payments/events';
    expect((await post(engine, url, { events: [payment({ card: 'fits' })] })).status).toBe(200);
    const answer = await post(engine, url, {
      events: Array.from({ length: 10 }, () => payment({ card: 'not' })),
    });
    expect(answer).toMatchObject({ status: 503, body: { error: { code: 'log_full' } } });
    expect(engine.readiness()).toMatchObject({
      ready: true,
      warnings: ['source payments takes no events: its log or the disk is full'],
    });
    await engine.ready();
    expect((await ask(engine, 'not')).body.features.payments_ever).toBe(0);
    expect((await post(engine, url, { events: [payment({ card: 'b' })] })).status).toBe(200);
    expect(engine.readiness().warnings).toEqual([]);
  });

  test('too many bytes being written are refused early, and only then', async () => {
    const { opened, open: openGate } = gate();
    const storage = wrapped(openMemoryStorage(), { append: () => opened });
    const engine = await composeOver(storage, { maxInFlightBytes: 1_000 });
    const url = '/v1/sources/payments/events';
    const events = Array.from({ length: 20 }, () => payment());
    const first = post(engine, url, { events });
    await until(() => engine.push.inFlightBytes > 1_000);
    const second = await post(engine, url, { events: [payment()] });
    expect(second).toMatchObject({ status: 429, body: { error: { code: 'overloaded' } } });
    expect(second.headers['retry-after']).toBe('1');
    openGate();
    expect((await first).body.accepted).toBe(20);
    expect(engine.push.inFlightBytes).toBe(0);
  });

  test('another log under the same store is noticed, and never retried', async () => {
    const memory = openMemoryStorage();
    const first = await compose(
      { repo: testRepo, wallClock: new ManualClock(NOON_MS) },
      { ...memory, close: async () => {} },
    );
    await first.push.push('payments', [payment()], { wait: 'applied' });
    await first.close();
    const log = (await memory.log('payments', 1)) as MemoryEventLog;
    log.recreate(0);
    await log.append([
      { partition: 0, appendedMs: NOON_MS, stamp: null, eventTimeMs: NOON_MS, value: Buffer.from('{}') },
    ]);
    const engine = await composeOver(memory, { drainTimeoutMs: 1 });
    await expect(engine.ready()).rejects.toThrow(LogReplacedError);
    expect((await engine.app.inject('/readyz')).statusCode).toBe(503);
  });

  test('a log that ends before what was applied takes no events, and nothing is fresh', async () => {
    const memory = openMemoryStorage();
    const first = await compose(
      { repo: testRepo, wallClock: new ManualClock(NOON_MS) },
      { ...memory, close: async () => {} },
    );
    await first.push.push('payments', [payment()], { wait: 'applied' });
    await first.close();
    ((await memory.log('payments', 1)) as MemoryEventLog).recreate(0);
    const engine = await composeOver(memory, { drainTimeoutMs: 1 });
    await expect(engine.ready()).rejects.toThrow(LogReplacedError);
    const pushed = await engine.app.inject({
      method: 'POST',
      url: '/v1/sources/payments/events',
      payload: { events: [payment()] },
    });
    expect([pushed.statusCode, pushed.json().error.code]).toEqual([503, 'log_unavailable']);
    expect(engine.readiness().lag).toContainEqual(
      expect.objectContaining({ source: 'payments', records: 1 }),
    );
    const read = await engine.app.inject({
      method: 'POST',
      url: '/v1/services/card/features',
      payload: { entities: { card: 'c1' }, metadata: true },
    });
    expect(read.json().metadata.features.payments_1h.status).toBe('catching_up');
  });

  test('a defect answers internal with the id of the request, and no more', async () => {
    const engine = await openInMemory({ repo: testRepo });
    closers.push(() => engine.close());
    engine.metrics.onCollect(() => {
      throw new Error('secret defect');
    });
    const response = await engine.app.inject('/metrics');
    expect(response.statusCode).toBe(500);
    expect(response.json()).toEqual({
      error: {
        code: 'internal',
        message: expect.any(String),
        details: { request_id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      },
    });
    expect(response.body).not.toContain('secret');
  });
});

describe('closing', () => {
  test('finishes pushes in flight, refuses new ones, applies the log, and may be called twice', async () => {
    const { opened, open: openGate } = gate();
    const storage = wrapped(openMemoryStorage(), { append: () => opened });
    const engine = await composeOver(storage);
    const pushing = engine.push.push('payments', [payment({ card: 'last' })]);
    const closing = engine.close();
    await until(() => !engine.readiness().ready);
    await until(async () => {
      const refused = await engine.push.push('payments', [payment()]).catch((error: unknown) => error);
      return (refused as { code?: string }).code === 'shutting_down';
    });
    openGate();
    expect(await pushing).toMatchObject({ accepted: 1 });
    await closing;
    await engine.close();
  });

  test('a request that comes while stopping is answered shutting_down', async () => {
    const engine = await openInMemory({ repo: testRepo });
    closers.push(() => engine.close());
    await engine.push.close();
    const answer = await post(engine, '/v1/sources/payments/events', { events: [payment()] });
    expect(answer).toMatchObject({ status: 503, body: { error: { code: 'shutting_down' } } });
  });
});

test('state is never read under a changed definition', async () => {
  const it = await open();
  await it.push('payments', [payment({ card: 'v' })]);
  const changed = featureView({
    name: 'spend',
    source: payments,
    entity: card,
    version: 2,
    filter: (event) => event.amount > 100,
    features: { payments_1h: count().over('1h') },
  });
  const repo = compileRepo([featureService({ name: 'card', features: [changed] })]);
  await it.restart({ repo });
  await it.engine.ready();
  expect((await it.read('card', { entities: { card: 'v' } })).body).toEqual({ features: { payments_1h: 0 } });
});
