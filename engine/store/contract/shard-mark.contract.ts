/** The mark of a shard, which says that it has lost something. */
import { describe, expect, it } from 'vitest';
import { hasLostSince } from '../shard-mark.ts';
import { NAMESPACE, type OpenedStore, text, token } from '../testing/opened-store.ts';
import type { Watermark, WatermarkName } from '../tile-store.ts';

export function describeShardMark(opened: OpenedStore): void {
  const { address, write, cas } = opened;

  describe('the mark of a shard', () => {
    const name: WatermarkName = { namespace: NAMESPACE, source: 's', partition: 0 };
    const next = (value: number): Watermark => ({
      ...{ nextOffset: value, token: token(value), maxEventTimeMs: -1 },
      ...{ appendedMs: -1, clockMs: 0, logIdentity: 'log' },
    });
    const move = async (expected: number | null, value: number, incarnation?: string) => {
      const at = incarnation ?? (await opened.store.incarnation(opened.shard));
      const expectedToken = expected === null ? null : token(expected);
      const moves = [
        { shard: opened.shard, name, expected: expectedToken, incarnation: at, next: next(value) },
      ];
      return (await opened.store.moveWatermarks(moves))[0]!;
    };
    const markIn = async (of: number) => {
      const [state] = await opened.store.read([
        { address: address('k', { shard: of }), fields: [], marked: true },
      ]);
      return state!.mark;
    };

    it('is absent until a watermark was moved, and only where it is asked for', async () => {
      expect(await opened.store.look(opened.shard, [name])).toEqual({ mark: null, watermarks: [null] });
      expect(await markIn(opened.shard)).toBeNull();
      expect((await opened.store.read([{ address: address('k'), fields: [] }]))[0]!.mark).toBeUndefined();
    });

    it('goes on with every move, in its own shard, and is the same for a look and a read', async () => {
      expect(await move(null, 1)).toBe(true);
      const first = await opened.store.look(opened.shard, [name]);
      expect(first.watermarks).toEqual([next(1)]);
      expect(await markIn(opened.shard)).toEqual(first.mark);
      expect(await move(1, 2)).toBe(true);
      const second = await opened.store.look(opened.shard, [name, { ...name, partition: 1 }]);
      expect(second.watermarks).toEqual([next(2), null]);
      expect(hasLostSince(first.mark, second.mark)).toBe(false);
      // A store that loses nothing while it is open has none.
      expect(hasLostSince(second.mark, first.mark)).toBe(second.mark !== null);
      expect(await markIn(opened.otherShard)).toBeNull();
    });

    it('stays where a move is refused', async () => {
      await move(null, 1);
      const { mark } = await opened.store.look(opened.shard, []);
      expect(await move(7, 2)).toBe(false);
      expect(await move(1, 2, 'another')).toBe(false);
      expect((await opened.store.look(opened.shard, [])).mark).toEqual(mark);
    });

    it('comes once for each of several states, of several shards', async () => {
      await move(null, 1);
      const { mark } = await opened.store.look(opened.shard, []);
      await cas(write(address('a'), null, 1, { f: 'A' }));
      const states = await opened.store.read([
        { address: address('a'), fields: ['f'], marked: true },
        { address: address('b', { shard: opened.otherShard }), fields: [], marked: true },
        { address: address('a'), fields: ['f'] },
        { address: address('c'), fields: [], marked: true, watermarks: [name] },
      ]);
      expect(states.map((state) => state.mark)).toEqual([mark, null, undefined, mark]);
      expect(text(states[0]!.fields[0])).toBe('A');
      expect(states[3]!.watermarks).toEqual([next(1)]);
    });
  });
}
