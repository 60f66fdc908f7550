/** The due index: entries that come with states, and leases. */
import { describe, expect, it } from 'vitest';
import { NAMESPACE, NOW_MS, type OpenedStore, OTHER_NAMESPACE, token } from '../testing/opened-store.ts';
import type { StateAddress } from '../tile-store.ts';

export function describeDueIndex(opened: OpenedStore): void {
  const { address, write, cas } = opened;

  describe('due index', () => {
    const due = (key: string, overrides: Partial<StateAddress> = {}) => address(key, overrides);
    const lease = (nowMs: number, leaseUntilMs: number, limit = 100, inShard = opened.shard) =>
      opened.store.leaseDue({ shard: inShard, nowMs, leaseUntilMs, limit });

    /** Writes states that are due. */
    const enter = async (...entries: readonly (readonly [StateAddress, number])[]): Promise<void> => {
      const won = await cas(...entries.map(([at, dueMs]) => ({ ...write(at, null, 1), dueMs })));
      expect(won).toEqual(entries.map(() => true));
    };

    it('leases what is due, earliest first, up to the limit', async () => {
      await enter(...['c', 'a', 'd', 'b'].map((key) => [due(key), NOW_MS + 10 * key.charCodeAt(0)] as const));
      const at = NOW_MS + 10 * 'c'.charCodeAt(0);
      expect(await opened.store.countDue(opened.shard, at)).toBe(3);
      expect(await opened.store.countDue(opened.shard, at - 1)).toBe(2);
      expect(await opened.store.countDue(opened.shard, 0)).toBe(0);
      expect(await opened.store.earliestDueMs(opened.shard)).toBe(at - 20);
      const first = await lease(at, at + 1000, 2);
      expect(first).toEqual([
        { address: due('a'), dueMs: at - 20, leasedUntilMs: at + 1000 },
        { address: due('b'), dueMs: at - 10, leasedUntilMs: at + 1000 },
      ]);
      expect((await lease(at, at + 1000)).map((entry) => entry.address.key)).toEqual(['c']);
      expect(await lease(at, at + 1000)).toEqual([]);
      // 'd', which was not due.
      expect(await opened.store.earliestDueMs(opened.shard)).toBe(at + 10);
      expect(await lease(at + 999, at + 2000, 0)).toEqual([]);
    });

    it('has the time that the last write set; a write that names none leaves it', async () => {
      await enter([due('k'), 500]);
      await cas({ ...write(due('k'), token(1), 2), dueMs: 300 });
      expect(await opened.store.countDue(opened.shard, 300)).toBe(1);
      await cas({ ...write(due('k'), token(2), 3), dueMs: 900 });
      expect(await opened.store.countDue(opened.shard, 899)).toBe(0);
      await cas(write(due('k'), token(3), 4));
      expect(await opened.store.countDue(opened.shard, 899)).toBe(0);
      expect(await opened.store.countDue(opened.shard, 900)).toBe(1);
    });

    it('does not change with a write that loses', async () => {
      await enter([due('k'), 500]);
      expect(await cas({ ...write(due('k'), token(7), 2), dueMs: 100 })).toEqual([false]);
      expect(await cas({ ...write(due('new'), token(7), 2), dueMs: 100 })).toEqual([false]);
      expect(await opened.store.countDue(opened.shard, 499)).toBe(0);
    });

    it('ends with its state', async () => {
      await enter([due('k'), 500], [due('kept'), 501]);
      await cas(write(due('k'), token(1), null));
      expect((await lease(1000, 2000)).map((entry) => entry.address.key)).toEqual(['kept']);
    });

    it('offers a leased entry again when the lease has run out, or a write makes it due', async () => {
      await enter([due('k'), 100], [due('l'), 100]);
      await lease(100, 200);
      expect(await lease(199, 400)).toEqual([]);
      await cas({ ...write(due('l'), token(1), 2), dueMs: 150 });
      expect((await lease(150, 300)).map((entry) => entry.address.key)).toEqual(['l']);
      expect((await lease(200, 400)).map((entry) => entry.address.key)).toEqual(['k']);
    });

    it('postpones an entry only while it is where the lease set it, and never loses it', async () => {
      await enter([due('a'), 100], [due('b'), 101], [due('c'), 102]);
      const entries = await lease(200, 1000);
      await cas({ ...write(due('b'), token(1), 2), dueMs: 700 });
      await opened.store.postponeDue([entries[0]!, entries[1]!], 5000);
      expect((await lease(1e6, 2e6)).map((entry) => [entry.address.key, entry.dueMs])).toEqual([
        ['b', 700],
        ['c', 1000],
        ['a', 5000],
      ]);
      expect((await opened.store.read([{ address: due('a'), fields: [] }]))[0]!.token).toBe(token(1));
    });

    it('postpones to before the end of the lease as well', async () => {
      await enter([due('k'), 100]);
      const entries = await lease(200, 1000);
      await opened.store.postponeDue(entries, 300);
      expect(await opened.store.countDue(opened.shard, 299)).toBe(0);
      expect(await opened.store.countDue(opened.shard, 300)).toBe(1);
    });

    it('postpones nothing that does not exist', async () => {
      expect(await opened.store.earliestDueMs(opened.shard)).toBeNull();
      await opened.store.postponeDue([{ address: due('never'), dueMs: 1, leasedUntilMs: 5 }], 9);
      expect(await opened.store.countDue(opened.shard, 1e15)).toBe(0);
    });

    it('keeps shards and namespaces apart', async () => {
      await enter(
        [due('k'), 100],
        [due('k', { namespace: OTHER_NAMESPACE }), 101],
        [due('other', { shard: opened.otherShard }), 50],
      );
      expect(await opened.store.countDue(opened.shard, 200)).toBe(2);
      expect(await opened.store.earliestDueMs(opened.shard)).toBe(100);
      const entries = await lease(200, 1000);
      expect(entries.map((entry) => entry.address.namespace)).toEqual([NAMESPACE, OTHER_NAMESPACE]);
      expect((await lease(200, 1000, 100, opened.otherShard)).map((entry) => entry.address)).toEqual([
        due('other', { shard: opened.otherShard }),
      ]);
      await opened.store.postponeDue(entries, 9000);
      expect(await opened.store.countDue(opened.shard, 8999)).toBe(0);
      expect(await opened.store.countDue(opened.shard, 9000)).toBe(2);
      expect(await opened.store.countDue(opened.otherShard, 1e15)).toBe(1);
      expect(await opened.store.countDue(opened.otherShard, 1000)).toBe(1);
    });

    it('shares entries between concurrent compactors without giving one out twice', async () => {
      await enter(...Array.from({ length: 30 }, (_, i) => [due(`k${i}`), 100 + i] as const));
      const leases = await Promise.all(Array.from({ length: 5 }, () => lease(1000, 5000, 10)));
      const keys = leases.flat().map((entry) => entry.address.key);
      expect(keys).toHaveLength(30);
      expect(new Set(keys).size).toBe(30);
    });
  });
}
