/** What becomes of a namespace that nobody reads any more. */
import { describe, expect, it } from 'vitest';
import { NAMESPACE, type OpenedStore, OTHER_NAMESPACE, text, token } from '../testing/opened-store.ts';
import type { WatermarkName } from '../tile-store.ts';

export function describeDroppedNamespace(opened: OpenedStore): void {
  const { address, write, see, cas } = opened;

  describe('a namespace that is given up', () => {
    const moveTo = async (watermark: Partial<WatermarkName>, inShard = opened.shard): Promise<void> => {
      const name = { namespace: NAMESPACE, source: 's', partition: 0, ...watermark };
      const [moved] = await opened.store.moveWatermarks([
        {
          shard: inShard,
          name,
          expected: null,
          incarnation: await opened.store.incarnation(inShard),
          next: {
            nextOffset: 1,
            token: token(1),
            maxEventTimeMs: -1,
            appendedMs: -1,
            clockMs: 0,
            logIdentity: '',
          },
        },
      ]);
      expect(moved).toBe(true);
    };
    const marks = async (namespace: string, inShard = opened.shard): Promise<boolean[]> => {
      const names = [
        { namespace, source: 's', partition: 0 },
        { namespace, source: 's', partition: 65_535 },
        { namespace, source: '\u{10FFFF}', partition: 65_535 },
      ];
      return (await opened.store.readWatermarks(inShard, names)).map((found) => found !== null);
    };
    /** Until nothing is left; null: refused. */
    const dropAll = async (namespace = NAMESPACE): Promise<number | null> => {
      let sum = 0;
      for (let cursor: string | null = null; ; ) {
        const step = await opened.store.dropStates({ shard: opened.shard, namespace, cursor });
        if (step === null) return null;
        sum += step.dropped;
        if (step.cursor === null) return sum;
        cursor = step.cursor;
      }
    };

    it('loses its watermarks in that shard, and only these', async () => {
      for (const namespace of [NAMESPACE, OTHER_NAMESPACE]) {
        await moveTo({ namespace });
        await moveTo({ namespace, partition: 65_535 });
        await moveTo({ namespace, source: '\u{10FFFF}', partition: 65_535 });
      }
      await moveTo({}, opened.otherShard);
      await opened.store.dropWatermarks(opened.shard, NAMESPACE);
      await opened.store.dropWatermarks(opened.shard, '00000000000000ac');
      expect(await marks(NAMESPACE)).toEqual([false, false, false]);
      expect(await marks(OTHER_NAMESPACE)).toEqual([true, true, true]);
      expect(await marks(NAMESPACE, opened.otherShard)).toEqual([true, false, false]);
    });

    it('loses all of its states with their fields and due entries, however many', async () => {
      const keys = Array.from({ length: 700 }, (_, i) => `k${i}`);
      const longest = '\u{10FFFF}'.repeat(256);
      for (const namespace of [NAMESPACE, OTHER_NAMESPACE]) {
        await cas(
          ...[...keys, '', '}:', longest].map((key) => ({
            ...write(address(key, { namespace }), null, 1, { a: 'one', b: 'two' }),
            dueMs: 500,
          })),
        );
      }
      await cas({ ...write(address('k0', { shard: opened.otherShard }), null, 1), dueMs: 500 });
      expect(await dropAll()).toBe(703);
      expect(await dropAll()).toBe(0);
      expect(await opened.store.countDue(opened.shard, 1e15)).toBe(703);
      expect(await opened.store.countDue(opened.otherShard, 1e15)).toBe(1);
      const gone = { token: null, head: null, fields: [null, null] };
      for (const key of ['k0', 'k699', '', '}:', longest]) {
        expect(await see(address(key), ['a', 'b'])).toEqual(gone);
        expect(await see(address(key, { namespace: OTHER_NAMESPACE }), ['a'])).toMatchObject({
          fields: ['one'],
        });
      }
      // Nothing of the former fields comes back with a state of the same key.
      await cas(write(address('k7'), null, 2));
      expect((await see(address('k7'), ['a', 'b'])).fields).toEqual([null, null]);
    });

    it('loses whole states at every step: one that is made again in between begins empty', async () => {
      const keys = Array.from({ length: 700 }, (_, i) => `k${i}`);
      await cas(...keys.map((key) => write(address(key), null, 1, { a: 'one', b: 'two' })));
      await opened.store.dropStates({ shard: opened.shard, namespace: NAMESPACE, cursor: null });
      await cas(...keys.map((key) => write(address(key), null, 2)));
      const states = await opened.store.read(
        keys.map((key) => ({ address: address(key), fields: ['a', 'b'] })),
      );
      for (const { token: found, fields } of states) {
        expect(fields.map(text)).toEqual(found === token(2) ? [null, null] : ['one', 'two']);
      }
    });

    it('keeps its states while it has a watermark in the shard', async () => {
      await cas({ ...write(address('k'), null, 1), dueMs: 500 });
      await moveTo({ namespace: OTHER_NAMESPACE });
      await moveTo({}, opened.otherShard);
      await moveTo({ partition: 7 });
      expect(await dropAll()).toBeNull();
      expect((await see(address('k'))).token).toBe(token(1));
      await opened.store.dropWatermarks(opened.shard, NAMESPACE);
      expect(await dropAll()).toBe(1);
    });
  });

  it('closes twice without harm and answers nothing afterwards', async () => {
    await cas(write(address('k'), null, 1));
    await Promise.all([opened.store.close(), opened.store.close()]);
    await opened.store.close();
    await expect(opened.store.read([{ address: address('k'), fields: [] }])).rejects.toThrow(/closed/);
    await expect(cas(write(address('k'), token(1), 2))).rejects.toThrow(/closed/);
  });
}
