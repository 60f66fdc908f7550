/**
 * The thread that writes tiles. That what it writes is right is `serve/serving.property.test.ts`, against the oracle, and
 * that a kill loses and doubles nothing `test/kills`, both with and without it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { LmdbTileStore } from '../engine/store/lmdb-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { StoreClosedError, StoreFullError } from '../engine/store/store-errors.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING, type IncomingRow } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { compileRepo, count, featureService, featureView } from '../index.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { TestEngine } from './testing/test-engine.ts';
import { card, NOON_MS, payment, payments, refusals, testRepo } from './testing/test-repo.ts';
import { defectiveThread, WRITE_THREAD } from './testing/write-thread-module.ts';
import { WriteThread } from './write-thread.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function openStore(): Promise<LmdbTileStore> {
  const path = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  const store = await LmdbTileStore.open({ path });
  closers.push(async () => {
    await store.close();
    await rm(path, { recursive: true });
  });
  return store;
}

async function start(store: LmdbTileStore, module = WRITE_THREAD): Promise<WriteThread> {
  const thread = await WriteThread.start(module, store, testRepo.views.values());
  closers.push(() => thread.close());
  return thread;
}

const view = testRepo.views.get(refusals.name)!;

const writingTo = (store: LmdbTileStore): StateWriting => ({
  store,
  clock: new ManualClock(NOON_MS),
  shards: 1,
  shape: DEFAULT_TILE_SHAPE,
  pacing: DEFAULT_PACING,
  rules: PROTOCOL,
  newToken: randomTokens(),
});

/** Rows of a view without columns. */
function rowAt(offset: number): IncomingRow {
  const id = { hi: 0, lo: offset };
  return { partition: 0, offset, appendedMs: NOON_MS, timeMs: NOON_MS, id, dedupeId: id, values: [] };
}

describe('a thread that writes', () => {
  test('has written what this thread reads when it is told so, whatever it read just before', async () => {
    const store = await openStore();
    const writer = (await start(store)).writerOf(view, writingTo(store));
    const address = { namespace: view.namespace, key: 'k', shard: 0 };
    const tokenOf = async () => (await store.read([{ address, fields: [] }]))[0]!.token;
    // lmdb-js keeps a snapshot until the event loop looks at its timers: here there is always one.
    let isReading = true;
    const reading = (async () => {
      while (isReading) {
        await tokenOf();
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    try {
      let former: string | null = null;
      for (let offset = 0; offset < 300; offset++) {
        expect(await writer.apply(new Map([['k', [rowAt(offset)]]]))).toMatchObject({
          applied: 1,
          conflicts: 0,
        });
        const token = await tokenOf();
        expect(token, `after row ${offset}`).not.toBe(former);
        former = token;
      }
    } finally {
      isReading = false;
      await reading;
    }
  });

  test('knows the namespace of a view that is being rebuilt, and skips what it has applied', async () => {
    const store = await openStore();
    const thread = await start(store);
    const rebuilt = { ...view, namespace: 'fedcba9876543210' };
    const rows = new Map([['k', [rowAt(0)]]]);
    for (const at of [view, rebuilt]) {
      const writer = thread.writerOf(at, writingTo(store));
      expect(await writer.apply(rows)).toMatchObject({ applied: 1, created: 1 });
      expect(await writer.apply(rows)).toMatchObject({ applied: 0, redelivered: 1 });
    }
  });

  test('finishes what is under way before it closes, and takes nothing more', async () => {
    const store = await openStore();
    const thread = await start(store);
    const writer = thread.writerOf(view, writingTo(store));
    const keys = Array.from({ length: 1_000 }, (_, i) => `k${i}`);
    const underWay = writer.apply(new Map(keys.map((key, i) => [key, [rowAt(i)]])));
    const closed = thread.close();
    await expect(writer.apply(new Map([['k', [rowAt(0)]]]))).rejects.toThrow(StoreClosedError);
    expect(await underWay).toMatchObject({ applied: 1_000 });
    await closed;
    await thread.close();
  });

  test('that has no room says so as the store does', async () => {
    const store = await openStore();
    const writer = (await start(store, defectiveThread('full'))).writerOf(view, writingTo(store));
    await expect(writer.apply(new Map())).rejects.toThrow(StoreFullError);
  });

  test('names the view of a damaged state, and what to do', async () => {
    const store = await openStore();
    const writer = (await start(store)).writerOf(view, writingTo(store));
    const address = { namespace: view.namespace, key: 'k', shard: 0 };
    const next = { token: randomTokens()(), head: new TextEncoder().encode('garbage') };
    await store.compareAndSet([{ address, expected: null, next, changes: new Map() }]);
    await expect(writer.apply(new Map([['k', [rowAt(0)]]]))).rejects.toThrow(
      /a state of view refusals is damaged .*: a rebuild of the view/,
    );
  });

  describe('by the looks at it', () => {
    beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
    afterEach(() => void vi.useRealTimers());

    test('that hangs is given up', async () => {
      const store = await openStore();
      const thread = await start(store, defectiveThread('hangs'));
      const writing = thread.writerOf(view, writingTo(store)).apply(new Map());
      vi.advanceTimersByTime(45_000);
      const still = Symbol('still under way');
      expect(await Promise.race([writing, Promise.resolve(still)])).toBe(still);
      vi.advanceTimersByTime(15_000);
      await expect(writing).rejects.toThrow(/said nothing for 60 s$/);
      await expect(thread.failed).rejects.toThrow(/said nothing/);
    });

    test('that is never there is given up', async () => {
      const starting = start(await openStore(), defectiveThread('never loaded'));
      vi.advanceTimersByTime(60_000);
      await expect(starting).rejects.toThrow(/said nothing for 60 s: do the definitions wait for something/);
    });

    test('that has nothing to do may be silent, and one that answers goes on', async () => {
      const store = await openStore();
      const thread = await start(store);
      vi.advanceTimersByTime(600_000);
      const writer = thread.writerOf(view, writingTo(store));
      // At each look something is under way, but never the same.
      for (let offset = 0; offset < 10; offset++) {
        const writing = writer.apply(new Map([['k', [rowAt(offset)]]]));
        vi.advanceTimersByTime(15_000);
        expect(await writing).toMatchObject({ applied: 1 });
      }
    });
  });

  test('meets compaction at the same states, and both win', async () => {
    const it = await TestEngine.open({
      writeThread: WRITE_THREAD,
      shape: { leafBytesMax: 80, tailRowsMax: 3 },
      pacing: { foldAfterMs: 0 },
    });
    closers.push(() => it.close());
    let isCompacting = true;
    let compacted = 0;
    const compacting = (async () => {
      while (isCompacting) {
        compacted += await it.engine.compact();
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const pushes = 100;
    for (let n = 1; n <= pushes; n++) {
      it.clock.advanceTo(it.clock.nowMs() + 1_000);
      await it.push('payments', [
        payment({ card: 'a', at: it.clock.nowMs() }),
        payment({ card: 'a', at: NOON_MS - n }),
      ]);
      const { body } = await it.read('card', { entities: { card: 'a' } });
      expect(body.features).toMatchObject({ payments_ever: 2 * n, payments_1h: 2 * n });
    }
    isCompacting = false;
    await compacting;
    expect(compacted).toBeGreaterThan(pushes / 2);
  });
});

describe('an engine with it', () => {
  test('that cannot be started does not open, and leaves the directory free', async () => {
    const it = await TestEngine.open();
    closers.push(() => it.close());
    await expect(it.restart({ writeThread: defectiveThread('not loaded') })).rejects.toThrow(
      'the module cannot be loaded',
    );
    await it.restart({ writeThread: WRITE_THREAD });
    expect((await it.push('payments', [payment({ card: 'a' })])).status).toBe(200);
  });

  test('that has other definitions does not open', async () => {
    const changed = featureView({
      name: refusals.name,
      source: payments,
      entity: card,
      features: { n: count().over('1h') },
    });
    const repo = compileRepo([featureService({ name: 'changed', features: [changed] })]);
    await expect(TestEngine.open({ repo, writeThread: WRITE_THREAD })).rejects.toThrow(
      'view refusals is another one in the thread that writes tiles',
    );
  });

  test('that dies while it catches up is not waited for', async () => {
    const it = await TestEngine.open();
    closers.push(() => it.close());
    await it.push('payments', [payment({ card: 'a' })]);
    await it.restart({ writeThread: defectiveThread('ends'), drainTimeoutMs: 3_600_000 });
    await it.post('/v1/sources/payments/events', { events: [payment({ card: 'a' })] });
    await expect(it.engine.ready()).rejects.toThrow('the thread that writes tiles has ended');
    expect(it.engine.readiness()).toMatchObject({ ready: false });
    expect(it.engine.readiness().reasons.join()).toContain('the thread that writes tiles has ended');
    // The log cannot be applied any more: closing does not wait for that.
    await it.engine.close();
  });

  test.each([
    ['ends', /the thread that writes tiles has ended/],
    // Not with its message, which may hold a key.
    ['fails', /^the thread that writes tiles has failed: TypeError$/],
  ] as const)('that %s says that it cannot go on, and loses nothing', async (defect, reason) => {
    const it = await TestEngine.open({ writeThread: defectiveThread(defect), drainTimeoutMs: 100 });
    closers.push(() => it.close());
    const { failed } = it.engine;
    await it.post('/v1/sources/payments/events', { events: [payment({ card: 'a', amount: 5 })] });
    await expect(failed).rejects.toThrow(reason);
    expect(it.engine.readiness().reasons.join()).toContain('the process has to be started again: the thread');
    await it.restart({ writeThread: WRITE_THREAD });
    await it.engine.ready();
    const { body } = await it.read('card', { entities: { card: 'a' } });
    expect(body.features).toMatchObject({ payments_1h: 1, amount_sum_1h: 5 });
  });
});
