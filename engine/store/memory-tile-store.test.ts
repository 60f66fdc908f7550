import { describe, expect, it } from 'vitest';
import { MemoryTileStore } from './memory-tile-store.ts';
import { hasLostSince } from './shard-mark.ts';
import { describeTileStore } from './tile-store.contract.ts';
import type { CompareAndSet, StateAddress, Watermark } from './tile-store.ts';

function counter(): () => string {
  let next = 0;
  return () => `random ${next++}`;
}

const NAMESPACE = '00000000000000aa';
const token = (value: number): string => value.toString(16).padStart(16, '0');

describeTileStore('memory', async () => {
  const store = new MemoryTileStore({ random: counter() });
  return { store, shards: [0, 3], dispose: () => store.close() };
});

describe('memory tile store in the simulator', () => {
  const address = (key: string, shard = 0): StateAddress => ({ namespace: NAMESPACE, key, shard });
  const write = (
    at: StateAddress,
    expected: number | null,
    next: number | null,
    field: string,
  ): CompareAndSet => ({
    address: at,
    expected: expected === null ? null : token(expected),
    next: next === null ? null : { token: token(next), head: new Uint8Array([next]) },
    changes: new Map([[field, next === null ? null : new Uint8Array([next])]]),
  });
  const name = { namespace: NAMESPACE, source: 's', partition: 0 };
  const mark = (nextOffset: number): Watermark => ({
    nextOffset,
    token: token(nextOffset),
    maxEventTimeMs: 0,
    appendedMs: 7,
    clockMs: 0,
    logIdentity: 'log',
  });

  it('rolls every kind of mutation back, one at a time, to the very content before', async () => {
    const store = new MemoryTileStore({ random: counter() });
    const hashes = [store.stateHash()];
    const record = async (mutation: Promise<unknown>): Promise<void> => {
      await mutation;
      hashes.push(store.stateHash());
    };
    await record(store.compareAndSet([write(address('k'), null, 1, 'a')]));
    await record(store.compareAndSet([write(address('k'), 1, 2, 'b')]));
    const incarnation = await store.incarnation(0);
    await record(store.moveWatermarks([{ shard: 0, name, expected: null, incarnation, next: mark(1) }]));
    await record(store.compareAndSet([{ ...write(address('k'), 2, 3, 'b'), dueMs: 5 }]));
    await record(store.leaseDue({ shard: 0, nowMs: 5, leaseUntilMs: 9, limit: 1 }));
    const [entry] = await store.leaseDue({ shard: 0, nowMs: 9, leaseUntilMs: 20, limit: 1 });
    hashes.push(store.stateHash());
    await record(store.postponeDue([entry!], 40));
    await record(store.compareAndSet([{ ...write(address('k'), 3, 4, 'b'), dueMs: 6 }]));
    await record(store.compareAndSet([write(address('k'), 4, null, 'a')]));
    await record(store.compareAndSet([write(address('k'), null, 5, 'a')]));
    const made = { name: 'r', expected: null, next: { token: token(1), text: 'one' } };
    await record(store.compareAndSetRecord(made));
    await record(
      store.compareAndSetRecord({ ...made, expected: token(1), next: { token: token(2), text: '' } }),
    );
    await record(store.dropWatermarks(0, NAMESPACE));
    await record(store.dropStates({ shard: 0, namespace: NAMESPACE }));

    expect(store.historyLength(0)).toBe(hashes.length - 1);
    while (hashes.length > 1) {
      expect(store.stateHash()).toBe(hashes.pop());
      expect(store.rollback(1)).toBe(1);
    }
    expect(store.stateHash()).toBe(hashes[0]);
    expect(store.rollback(1)).toBe(0);
  });

  it('does not count refused writes as mutations', async () => {
    const store = new MemoryTileStore({ random: counter() });
    await store.compareAndSet([write(address('k'), 7, 1, 'a'), write(address('absent'), null, null, 'a')]);
    expect(store.historyLength(0)).toBe(0);
  });

  it('changes the incarnation of the shard rolled back only, and refuses watermark moves of before', async () => {
    const store = new MemoryTileStore({ random: counter() });
    await store.compareAndSet([write(address('k'), null, 1, 'a'), write(address('other', 1), null, 2, 'a')]);
    const before = [await store.incarnation(0), await store.incarnation(1)];
    store.rollback(1, { shard: 0 });
    expect(await store.incarnation(0)).not.toBe(before[0]);
    expect(await store.incarnation(1)).toBe(before[1]);
    expect((await store.read([{ address: address('k'), fields: [] }]))[0]!.token).toBeNull();
    expect((await store.read([{ address: address('other', 1), fields: ['a'] }]))[0]!.token).toBe(token(2));
    const moved = await store.moveWatermarks([
      { shard: 0, name, expected: null, incarnation: before[0]!, next: mark(1) },
    ]);
    expect(moved).toEqual([false]);
  });

  it('loses everything in a wipe and does not show it in the incarnation', async () => {
    const store = new MemoryTileStore({ random: counter() });
    const empty = store.stateHash();
    await store.compareAndSet([write(address('k'), null, 1, 'a'), write(address('other', 1), null, 2, 'a')]);
    await store.compareAndSet([{ ...write(address('k'), 1, 3, 'a'), dueMs: 5 }]);
    const before = await store.incarnation(0);
    store.wipe();
    expect(store.stateHash()).toBe(empty);
    expect(await store.incarnation(0)).toBe(before);
    expect(store.rollback(5)).toBe(0);
  });

  it('shows in its mark what it lost, also when it has come as far again', async () => {
    const store = new MemoryTileStore({ random: counter() });
    const move = async (expected: number | null, next: number): Promise<void> => {
      const incarnation = await store.incarnation(0);
      const from = expected === null ? null : token(expected);
      const moves = [{ shard: 0, name, expected: from, incarnation, next: mark(next) }];
      expect(await store.moveWatermarks(moves)).toEqual([true]);
    };
    const seen = async () => (await store.look(0, [name])).mark;
    await move(null, 1);
    await move(1, 2);
    const first = await seen();
    store.rollback(1);
    expect(hasLostSince(first, await seen())).toBe(true);
    await move(1, 3);
    expect(hasLostSince(first, await seen())).toBe(true);
    const second = await seen();
    store.wipe();
    expect(hasLostSince(second, await seen())).toBe(true);
    await move(null, 4);
    await move(4, 5);
    await move(5, 6);
    expect(hasLostSince(second, await seen())).toBe(true);
    const third = await seen();
    await store.compareAndSet([write(address('k'), null, 1, 'a')]);
    store.rollback(1);
    // What was lost is behind every move of a watermark: nobody was told that it is there.
    expect(hasLostSince(third, await seen())).toBe(false);
  });

  it('keeps a bounded history', async () => {
    const store = new MemoryTileStore({ random: counter(), historyLimit: 10 });
    for (let i = 1; i <= 100; i++) {
      await store.compareAndSet([write(address('k'), i === 1 ? null : i - 1, i, 'a')]);
      expect(store.historyLength(0)).toBeLessThanOrEqual(20);
    }
    expect(store.historyLength(0)).toBeGreaterThanOrEqual(10);
    expect(store.rollback(7)).toBe(7);
    expect((await store.read([{ address: address('k'), fields: [] }]))[0]!.token).toBe(token(93));
  });

  it('keeps no history where none is asked for', async () => {
    const store = new MemoryTileStore({ random: counter(), historyLimit: 0 });
    for (let i = 1; i <= 5; i++)
      await store.compareAndSet([write(address('k'), i === 1 ? null : i - 1, i, 'a')]);
    expect(store.historyLength(0)).toBe(0);
  });

  it('hashes content, not the order it was written in', async () => {
    const [one, two] = [
      new MemoryTileStore({ random: counter() }),
      new MemoryTileStore({ random: counter() }),
    ];
    await one.compareAndSet([write(address('a'), null, 1, 'x'), write(address('b', 1), null, 2, 'y')]);
    await two.compareAndSet([write(address('b', 1), null, 2, 'y')]);
    await two.compareAndSet([write(address('a'), null, 1, 'x')]);
    expect(one.stateHash()).toBe(two.stateHash());
    await two.compareAndSet([write(address('a'), 1, 3, 'x')]);
    expect(one.stateHash()).not.toBe(two.stateHash());
  });
});
