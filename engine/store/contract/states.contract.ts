/** States: compare-and-set, fields, and reads of many at once. */
import { describe, expect, it } from 'vitest';
import { type OpenedStore, text, token, utf8 } from '../testing/opened-store.ts';

export function describeStates(opened: OpenedStore): void {
  const { address, write, see, cas } = opened;

  describe('states', () => {
    it('answers null for a state that does not exist', async () => {
      expect(await see(address('nobody'), ['a', 'b'])).toEqual({
        token: null,
        head: null,
        fields: [null, null],
      });
      const [state] = await opened.store.read([{ address: address('nobody'), fields: [] }]);
      expect(state!.watermarks).toEqual([]);
    });

    it('creates a state only where none is expected', async () => {
      expect(await cas(write(address('k'), null, 1, { a: 'one' }))).toEqual([true]);
      expect(await cas(write(address('k'), null, 2, { a: 'two' }))).toEqual([false]);
      expect(await see(address('k'), ['a'])).toEqual({ token: token(1), head: 'head 1', fields: ['one'] });
    });

    it('replaces a state only under its present token', async () => {
      await cas(write(address('k'), null, 1, { a: 'one', b: 'kept' }));
      expect(await cas(write(address('k'), token(9), 2, { a: 'stale' }))).toEqual([false]);
      expect(await cas(write(address('k'), token(1), 2, { a: 'two' }))).toEqual([true]);
      expect(await cas(write(address('k'), token(1), 3, { a: 'zombie' }))).toEqual([false]);
      expect(await see(address('k'), ['a', 'b'])).toEqual({
        token: token(2),
        head: 'head 2',
        fields: ['two', 'kept'],
      });
    });

    it('refuses an expected token where there is no state', async () => {
      expect(await cas(write(address('k'), token(1), 2))).toEqual([false]);
      expect((await see(address('k'))).token).toBeNull();
    });

    it('tells tokens apart in every digit', async () => {
      await cas(write(address('k'), null, 1));
      const flipped = [
        'f000000000000001',
        '0000000000000010',
        '00000001000000001'.slice(1),
        'ffffffffffffffff',
      ];
      for (const wrong of flipped.filter((value) => value !== token(1))) {
        expect(await cas(write(address('k'), wrong, 2))).toEqual([false]);
      }
      expect(
        await cas({
          ...write(address('k'), token(1), 2),
          next: { token: 'fedcba9876543210', head: utf8.encode('') },
        }),
      ).toEqual([true]);
      expect(await see(address('k'))).toEqual({ token: 'fedcba9876543210', head: '', fields: [] });
    });

    it('writes, keeps and deletes fields one by one', async () => {
      await cas(write(address('k'), null, 1, { a: 'A', 'm:1': 'M', zz: 'Z' }));
      await cas(write(address('k'), token(1), 2, { a: null, absent: null, 'h:2': 'H' }));
      expect((await see(address('k'), ['zz', 'h:2', 'a', 'm:1', 'absent', 'zz'])).fields).toEqual([
        'Z',
        'H',
        null,
        'M',
        null,
        'Z',
      ]);
    });

    it('does not take a field name for the start of another one', async () => {
      await cas(write(address('k'), null, 1, { m1: 'short', m11: 'long' }));
      await cas(write(address('k'), token(1), 2, { m1: null }));
      expect((await see(address('k'), ['m1', 'm11', 'm'])).fields).toEqual([null, 'long', null]);
    });

    it('tells an empty field from an absent one', async () => {
      await cas(write(address('k'), null, 1, { empty: '' }, ''));
      expect(await see(address('k'), ['empty', 'absent'])).toEqual({
        token: token(1),
        head: '',
        fields: ['', null],
      });
    });

    it('deletes a state with all its fields, and a new one starts empty', async () => {
      await cas(write(address('k'), null, 1, { a: 'A', b: 'B' }));
      expect(await cas(write(address('k'), token(7), null, { a: null, b: null }))).toEqual([false]);
      expect(await cas(write(address('k'), token(1), null, { a: null, b: null }))).toEqual([true]);
      expect(await see(address('k'), ['a', 'b'])).toEqual({
        token: null,
        head: null,
        fields: [null, null],
      });
      expect(await cas(write(address('k'), null, 2, { b: 'new' }))).toEqual([true]);
      expect(await see(address('k'), ['a', 'b'])).toEqual({
        token: token(2),
        head: 'head 2',
        fields: [null, 'new'],
      });
    });

    it('reads in tiers what is there before the first that is empty', async () => {
      const tiers = [['b', 'c'], ['d'], [], ['never']].map((fields, t) => ({ fields, lasting: t < 2 }));
      const asked = ['k', 'other', 'k'].map((key) => ({ address: address(key), fields: ['a'], tiers }));
      const seeAll = async () =>
        (await opened.store.read(asked)).map((state) => [state.token, ...state.fields.map(text)]);
      const nobody = [null, null, null, null, null, null];
      expect(await seeAll()).toEqual([nobody, nobody, nobody]);
      await cas(write(address('k'), null, 1, { a: 'A' }), write(address('other'), null, 5));
      const other = [token(5), null, null, null, null, null];
      // Twice: what a store learns of a state must not be trusted.
      for (let times = 0; times < 2; times++) {
        expect((await seeAll()).slice(0, 2)).toEqual([[token(1), 'A', null, null, null, null], other]);
      }
      await cas(write(address('k'), token(1), 2, { c: 'C', d: 'D' }));
      const grown = [token(2), 'A', null, 'C', 'D', null];
      for (let times = 0; times < 2; times++) expect(await seeAll()).toEqual([grown, other, grown]);
      // The head counts to the tier in front.
      await cas(write(address('k'), token(2), 3, { a: null }));
      expect((await seeAll())[0]).toEqual([token(3), null, null, 'C', 'D', null]);
      await cas(write(address('k'), token(3), 4, { b: 'B', c: null }));
      expect((await seeAll())[0]).toEqual([token(4), null, 'B', null, 'D', null]);
      // What is behind an empty tier is answered as it is, or not looked for.
      await cas(write(address('k'), token(4), 5, { b: null, never: 'N' }));
      const [, ...beyond] = (await seeAll())[0]!;
      expect([
        [null, null, null, null, null],
        [null, null, null, 'D', 'N'],
      ]).toContainEqual(beyond);
    });

    it('answers as if the first field said nothing of the tiers', async () => {
      const saysNoTiers = (first: Uint8Array | null) => text(first) !== 'more';
      const tiers = [{ fields: ['x'], lasting: false }];
      const read = async () => {
        const request = { address: address('k'), fields: ['root', 'own'], tiers, saysNoTiers, marked: true };
        const [state] = await opened.store.read([request]);
        return { fields: state!.fields.map(text), isMarked: state!.mark !== undefined };
      };
      expect(await read()).toEqual({ fields: [null, null, null], isMarked: true });
      await cas(write(address('k'), null, 1, { root: 'alone', own: 'o' }));
      for (let times = 0; times < 2; times++) {
        expect(await read()).toEqual({ fields: ['alone', 'o', null], isMarked: true });
      }
      await cas(write(address('k'), token(1), 2, { root: 'more', x: 'X' }));
      expect(await read()).toEqual({ fields: ['more', 'o', 'X'], isMarked: true });
      await cas(write(address('k'), token(2), 3, { root: 'alone', x: null }));
      expect(await read()).toEqual({ fields: ['alone', 'o', null], isMarked: true });
      await cas(write(address('k'), token(3), 4, { root: null }));
      expect(await read()).toEqual({ fields: [null, 'o', null], isMarked: true });
    });

    it('reads thousands of names in tiers, and marks them as well', async () => {
      const names = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `n${from + i}`);
      await cas(write(address('k'), null, 1, { n0: '0', n1: '1', n4999: 'last' }));
      const tiers = [
        { fields: names(1, 2_000), lasting: true },
        { fields: names(2_000, 5_000), lasting: false },
        { fields: ['n2', 'n3'], lasting: false },
      ];
      for (const some of [tiers.slice(0, 2), tiers.slice(0, 2), tiers]) {
        const request = { address: address('k'), fields: ['n0'], tiers: some, marked: true };
        const [state] = await opened.store.read([request]);
        expect(state!.fields).toHaveLength(1 + some.reduce((sum, { fields }) => sum + fields.length, 0));
        expect(state!.fields.flatMap((value) => (value === null ? [] : [text(value)]))).toEqual([
          '0',
          '1',
          'last',
        ]);
        expect(state!.mark).not.toBeUndefined();
      }
    });

    it('refuses a name in a tier that no store takes', async () => {
      const tier = { fields: ['a', 'a b'], lasting: true };
      const request = { address: address('k'), fields: ['a'], tiers: [tier] };
      for (let times = 0; times < 2; times++) {
        await expect(opened.store.read([request])).rejects.toThrow('a field name is');
      }
      expect((await see(address('k'), ['a'])).fields).toEqual([null]);
    });

    it('deletes nothing of the neighbours', async () => {
      const neighbours = ['', 'k', 'k\0', 'ka', 'kk'].map((key) => address(key));
      await cas(...neighbours.map((at, i) => write(at, null, i + 1, { a: 'A' })));
      await cas(write(address('k'), token(2), null, { a: null }));
      for (const [i, at] of neighbours.entries()) {
        expect((await see(at, ['a'])).fields).toEqual([i === 1 ? null : 'A']);
      }
    });

    it('keeps the writes of one call independent of each other', async () => {
      await cas(write(address('stale'), null, 1), write(address('present'), null, 2));
      const results = await cas(
        write(address('new'), null, 11, { a: 'A' }),
        write(address('stale'), token(99), 12, { a: 'never' }),
        write(address('present'), token(2), 13, { a: 'A' }),
        write(address('present'), token(2), 14, { a: 'second of one call' }),
      );
      expect(results).toEqual([true, false, true, false]);
      expect((await see(address('new'), ['a'])).fields).toEqual(['A']);
      expect(await see(address('stale'), ['a'])).toEqual({
        token: token(1),
        head: 'head 1',
        fields: [null],
      });
      expect((await see(address('present'), ['a'])).fields).toEqual(['A']);
    });

    it('lets exactly one of concurrent writers win', async () => {
      await cas(write(address('k'), null, 1));
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          cas(write(address('k'), token(1), 100 + i, { a: `writer ${i}` })),
        ),
      );
      const winners = results.flatMap(([won], i) => (won ? [i] : []));
      expect(winners).toHaveLength(1);
      expect(await see(address('k'), ['a'])).toMatchObject({
        token: token(100 + winners[0]!),
        fields: [`writer ${winners[0]}`],
      });
    });

    it('keeps its own copy of what was written', async () => {
      const value = Buffer.from('as written');
      const head = Buffer.from('head');
      await opened.store.compareAndSet([
        {
          address: address('k'),
          expected: null,
          next: { token: token(1), head },
          changes: new Map([['a', value]]),
        },
      ]);
      value.fill(0);
      head.fill(0);
      expect(await see(address('k'), ['a'])).toEqual({
        token: token(1),
        head: 'head',
        fields: ['as written'],
      });
    });

    it('answers many requests in one call, each with its own bytes', async () => {
      const keys = Array.from({ length: 50 }, (_, i) => `key ${i}`);
      await cas(
        ...keys.map((key, i) => write(address(key), null, i + 1, { a: `a of ${key}`, b: `b of ${key}` })),
      );
      const states = await opened.store.read(
        keys.map((key) => ({ address: address(key), fields: ['b', 'absent', 'a'] })),
      );
      expect(states.map((state) => state.fields.map(text))).toEqual(
        keys.map((key) => [`b of ${key}`, null, `a of ${key}`]),
      );
      expect(states.map((state) => state.token)).toEqual(keys.map((_, i) => token(i + 1)));
    });

    it('keeps the bytes of concurrent reads apart', async () => {
      await cas(
        write(address('x'), null, 1, { a: 'of x' }),
        write(address('y'), null, 2, { a: 'of y, longer' }),
      );
      const [x, y] = await Promise.all(
        ['x', 'y'].map((key) => opened.store.read([{ address: address(key), fields: ['a'] }])),
      );
      expect([text(x![0]!.fields[0]), text(y![0]!.fields[0])]).toEqual(['of x', 'of y, longer']);
    });

    it('takes values of 1 MB', async () => {
      const head = new Uint8Array(1_000_000).map((_, i) => i % 251);
      const field = new Uint8Array(1_000_001).map((_, i) => i % 241);
      await opened.store.compareAndSet([
        {
          address: address('big'),
          expected: null,
          next: { token: token(1), head },
          changes: new Map([
            ['f', field],
            ['s', utf8.encode('small')],
          ]),
        },
      ]);
      const [state] = await opened.store.read([{ address: address('big'), fields: ['f', 's', 'f'] }]);
      expect(Buffer.compare(state!.head!, head)).toBe(0);
      expect(Buffer.compare(state!.fields[0]!, field)).toBe(0);
      expect(text(state!.fields[1])).toBe('small');
      expect(Buffer.compare(state!.fields[2]!, field)).toBe(0);
    });

    it('does nothing for empty calls', async () => {
      expect(await opened.store.read([])).toEqual([]);
      expect(await opened.store.compareAndSet([])).toEqual([]);
      expect(await opened.store.moveWatermarks([])).toEqual([]);
      expect(await opened.store.readWatermarks(opened.shard, [])).toEqual([]);
      await opened.store.postponeDue([], 5);
    });
  });
}
