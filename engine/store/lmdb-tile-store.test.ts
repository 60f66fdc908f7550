import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectoryLockedError } from './directory-lock.ts';
import { LmdbTileStore, type LmdbTileStoreOptions } from './lmdb-tile-store.ts';
import { StoreFormatError, StoreFullError } from './store-errors.ts';
import { expectSameAsMemory } from './testing/memory-twin.ts';
import { describeTileStore } from './tile-store.contract.ts';
import type { CompareAndSet, StateAddress, Token, Watermark } from './tile-store.ts';

const NAMESPACE = '00000000000000aa';
const token = (value: number): Token => value.toString(16).padStart(16, '0');
const makeDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'millrace-tiles-'));

describeTileStore('lmdb', async () => {
  const path = await makeDirectory();
  const store = await LmdbTileStore.open({ path });
  return {
    store,
    shards: [0, 3],
    dispose: async () => {
      await store.close();
      await rm(path, { recursive: true });
    },
  };
});

describe('lmdb tile store', () => {
  let path: string;
  const opened: LmdbTileStore[] = [];

  const open = async (options: Partial<LmdbTileStoreOptions> = {}): Promise<LmdbTileStore> => {
    const store = await LmdbTileStore.open({ path, ...options });
    opened.push(store);
    return store;
  };

  beforeEach(async () => {
    path = await makeDirectory();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await rm(path, { recursive: true });
  });

  const address = (key: string): StateAddress => ({ namespace: NAMESPACE, key, shard: 0 });
  const write = (key: string, expected: number | null, next: number | null, bytes = 10): CompareAndSet => ({
    address: address(key),
    expected: expected === null ? null : token(expected),
    next: next === null ? null : { token: token(next), head: new Uint8Array(bytes).fill(next) },
    changes: new Map([['f', next === null ? null : new Uint8Array(bytes).fill(next)]]),
  });

  it('finds everything again after reopening, under a new incarnation', async () => {
    const first = await open();
    const name = { namespace: NAMESPACE, source: 's', partition: 1 };
    const mark: Watermark = {
      nextOffset: 9,
      token: token(5),
      maxEventTimeMs: 3,
      appendedMs: 7,
      clockMs: 0,
      logIdentity: 'log',
    };
    await first.compareAndSet([write('k', null, 1), write('gone', null, 2)]);
    await first.compareAndSet([write('gone', 2, null)]);
    const incarnation = await first.incarnation(0);
    await first.moveWatermarks([{ shard: 0, name, expected: null, incarnation, next: mark }]);
    await first.compareAndSet([{ ...write('k', 1, 3), dueMs: 70 }]);
    const [entry] = await first.leaseDue({ shard: 0, nowMs: 70, leaseUntilMs: 80, limit: 1 });
    await first.flush();
    await first.close();

    const second = await open();
    expect(await second.incarnation(0)).not.toBe(incarnation);
    const states = await second.read([
      { address: address('k'), fields: ['f'], watermarks: [name] },
      { address: address('gone'), fields: ['f'] },
    ]);
    expect(states[0]).toMatchObject({ token: token(3), watermarks: [mark] });
    expect([...states[0]!.fields[0]!]).toEqual(Array(10).fill(3));
    expect(states[1]).toMatchObject({ token: null, fields: [null] });
    const stale = [{ shard: 0, name, expected: token(5), incarnation, next: { ...mark, token: token(6) } }];
    expect(await second.moveWatermarks(stale)).toEqual([false]);
    expect(await second.countDue(0, 79)).toBe(0);
    expect(await second.countDue(0, 80)).toBe(1);
    await second.postponeDue([entry!], 500);
    expect(await second.countDue(0, 499)).toBe(0);
    expect(await second.countDue(0, 500)).toBe(1);
  });

  it('belongs to one opener at a time', async () => {
    const first = await open();
    await expect(open()).rejects.toThrow(DirectoryLockedError);
    await first.close();
    await open();
  });

  it('refuses another clock than the one it is filled by, and says which to use', async () => {
    await (await open({ clock: 'event' })).close();
    const refused = open({ clock: 'wall' });
    await expect(refused).rejects.toThrow(StoreFormatError);
    await expect(refused).rejects.toThrow(
      /is filled by the event clock; start with --clock event, or use another/,
    );
    // Who does not say takes what is there; a refusal leaves the directory free.
    await (await open()).close();
    await open({ clock: 'event' });
  });

  it('is filled by the wall clock where nobody says which', async () => {
    await (await open()).close();
    await expect(open({ clock: 'event' })).rejects.toThrow(/start with --clock wall/);
    await open({ clock: 'wall' });
  });

  it('finishes writes in flight before it closes', async () => {
    const first = await open();
    const writes = Array.from({ length: 20 }, (_, i) => first.compareAndSet([write(`k${i}`, null, i + 1)]));
    await first.close();
    expect(await Promise.all(writes)).toEqual(writes.map(() => [true]));
    const second = await open();
    const states = await second.read(writes.map((_, i) => ({ address: address(`k${i}`), fields: [] })));
    expect(states.map((state) => state.token)).toEqual(writes.map((_, i) => token(i + 1)));
  });

  it('refuses to grow beyond maxBytes, says what to do, and still lets states shrink and go', async () => {
    const store = await open({ maxBytes: 1_000_000 });
    let full: unknown;
    let count = 0;
    while (full === undefined && count < 1000) {
      await store.compareAndSet([write(`k${count}`, null, 1, 3000)]).then(
        () => count++,
        (error: unknown) => {
          full = error;
        },
      );
    }
    expect(full).toBeInstanceOf(StoreFullError);
    expect((full as Error).message).toMatch(/maxBytes.*compaction/);
    expect(count).toBeGreaterThan(50);
    expect((await store.read([{ address: address(`k${count}`), fields: ['f'] }]))[0]).toMatchObject({
      token: null,
      fields: [null],
    });

    expect(await store.compareAndSet([write('k0', 1, 2, 3000)])).toEqual([true]);
    await expect(store.compareAndSet([write('k0', 2, 3, 9000)])).rejects.toThrow(StoreFullError);
    expect(await store.compareAndSet([write('k0', 2, 3, 10)])).toEqual([true]);
    for (let i = 1; i < 20; i++) expect(await store.compareAndSet([write(`k${i}`, 1, null)])).toEqual([true]);
    expect(await store.compareAndSet([write('k1', null, 5, 3000)])).toEqual([true]);
  });

  it('does not let a full store stop other calls of the same transaction', async () => {
    const store = await open({ maxBytes: 500_000 });
    const results = await Promise.allSettled([
      store.compareAndSet([write('huge', null, 1, 600_000)]),
      store.compareAndSet([write('small', null, 2)]),
    ]);
    expect(results.map((result) => result.status)).toEqual(['rejected', 'fulfilled']);
  });

  it('answers as the memory store does, whatever the sequence of operations', async () => {
    await expectSameAsMemory(await open(), { runs: 150, seed: 20_261_121 });
  });
});
