import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectoryLockedError } from './directory-lock.ts';
import { LmdbTileStore, type LmdbTileStoreOptions } from './lmdb-tile-store.ts';
import { MemoryTileStore } from './memory-tile-store.ts';
import { StoreFullError } from './store-errors.ts';
import { describeTileStore } from './tile-store.contract.ts';
import type { CompareAndSet, DueEntry, StateAddress, TileStore, Token, Watermark } from './tile-store.ts';

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
    await second.dropDue([entry!]);
    expect(await second.countDue(0, 1000)).toBe(0);
  });

  it('belongs to one opener at a time', async () => {
    const first = await open();
    await expect(open()).rejects.toThrow(DirectoryLockedError);
    await first.close();
    await open();
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
    let runs = 0;
    const store = await open();
    const property = fc.asyncProperty(fc.array(operations, { maxLength: 40 }), async (sequence) => {
      // A namespace of its own per run instead of a new database.
      const run = (runs++).toString(16).padStart(16, '0');
      const memory = new MemoryTileStore({ random: counter() });
      await compare(store, memory, sequence, run);
    });
    await fc.assert(property, { numRuns: 150, seed: 20_261_121 });
  });
});

/** Keys and tokens from few values, so that sequences meet the same state again. */
const smallKeys = fc.constantFrom('', 'a', 'b', '}');
const smallFields = fc.constantFrom('x', 'y', 'xy');
const smallTokens = fc.option(fc.integer({ min: 1, max: 3 }).map(token));
const bytes = fc.uint8Array({ maxLength: 5 });
const operations = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      writes: fc.array(
        fc.record({
          key: smallKeys,
          /** What the caller believes: mostly the present token, so that most writes apply. */
          expected: fc.oneof(
            { weight: 3, arbitrary: fc.constant('present' as const) },
            { weight: 1, arbitrary: smallTokens },
          ),
          next: fc.option(fc.record({ token: fc.integer({ min: 1, max: 3 }).map(token), head: bytes }), {
            freq: 5,
          }),
          changes: fc.array(fc.tuple(smallFields, fc.option(bytes)), { maxLength: 3 }),
          dueMs: fc.option(fc.nat(50)),
        }),
        { maxLength: 3 },
      ),
    }),
  },
  fc.record({
    kind: fc.constant('move' as const),
    partition: fc.nat(1),
    expected: smallTokens,
    next: fc.integer({ min: 1, max: 3 }),
    rightIncarnation: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('lease' as const),
    nowMs: fc.nat(60),
    leaseUntilMs: fc.nat(60),
    limit: fc.nat(5),
  }),
  fc.record({ kind: fc.constant('drop' as const), pick: fc.nat() }),
);
type Operation = typeof operations extends fc.Arbitrary<infer T> ? T : never;

function counter(): () => string {
  let next = 0;
  return () => `incarnation ${next++}`;
}

async function compare(
  store: TileStore,
  memory: TileStore,
  sequence: readonly Operation[],
  namespace: string,
): Promise<void> {
  const keys = ['', 'a', 'b', '}'];
  const names = [0, 1].map((partition) => ({ namespace, source: 's', partition }));
  // A shard per run keeps the due entries of earlier runs out.
  const shard = Number.parseInt(namespace, 16);
  const at = (key: string): StateAddress => ({ namespace, key, shard });
  const stores = [store, memory] as const;
  const requests = keys.map((key) => ({ address: at(key), fields: ['x', 'y', 'xy'], watermarks: names }));
  const leased: DueEntry[] = [];
  const both = async <T>(act: (target: TileStore, index: 0 | 1) => Promise<T>): Promise<[T, T]> => [
    await act(stores[0], 0),
    await act(stores[1], 1),
  ];

  for (const operation of sequence) {
    if (operation.kind === 'write') {
      const present = await memory.read(requests);
      const writes = operation.writes.map(
        ({ key, expected, next, changes, dueMs }): CompareAndSet => ({
          address: at(key),
          expected: expected === 'present' ? present[keys.indexOf(key)]!.token : expected,
          next,
          ...(dueMs === null ? {} : { dueMs }),
          changes: next === null ? new Map(['x', 'y', 'xy'].map((field) => [field, null])) : new Map(changes),
        }),
      );
      const [ours, theirs] = await both((target) => target.compareAndSet(writes));
      expect(ours).toEqual(theirs);
    } else if (operation.kind === 'move') {
      const [ours, theirs] = await both(async (target) => {
        const incarnation = operation.rightIncarnation ? await target.incarnation(shard) : 'wrong';
        const next = {
          nextOffset: operation.next,
          token: token(operation.next),
          maxEventTimeMs: -1,
          appendedMs: 7,
          clockMs: 0,
          logIdentity: '',
        };
        const name = names[operation.partition]!;
        return target.moveWatermarks([{ shard, name, expected: operation.expected, incarnation, next }]);
      });
      expect(ours).toEqual(theirs);
    } else if (operation.kind === 'lease') {
      const { nowMs, leaseUntilMs, limit } = operation;
      const [ours, theirs] = await both((target) => target.leaseDue({ shard, nowMs, leaseUntilMs, limit }));
      expect(ours).toEqual(theirs);
      leased.push(...ours);
    } else if (leased.length > 0) {
      const entry = leased[operation.pick % leased.length]!;
      await both((target) => target.dropDue([entry]));
    }
    const [ours, theirs] = await both((target) => target.read(requests));
    expect(plain(ours)).toEqual(plain(theirs));
    for (const nowMs of [0, 20, 40, 60]) {
      const [count, expected] = await both((target) => target.countDue(shard, nowMs));
      expect(count).toBe(expected);
    }
  }
}

function plain(states: Awaited<ReturnType<TileStore['read']>>): unknown {
  return states.map(({ token, head, fields, watermarks }) => ({
    token,
    head: head === null ? null : [...head],
    fields: fields.map((field) => (field === null ? null : [...field])),
    watermarks,
  }));
}
