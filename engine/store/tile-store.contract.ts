/**
 * What every tile store must do. Run by each store's test file with its own factory; it assumes nothing about
 * the implementation except the interface, and uses names of its own, so that a shared server may be behind it.
 *
 * What it does not catch: a store that loses more than a suffix per shard when it crashes.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  CompareAndSet,
  StateAddress,
  TileStore,
  Token,
  Watermark,
  WatermarkName,
} from './tile-store.ts';

export interface TileStoreHarness {
  readonly store: TileStore;
  /** Shards the store has; at least two. */
  readonly shards: readonly [number, number, ...number[]];
  /** Closes the store and removes what the test left. */
  dispose(): Promise<void>;
}

const NAMESPACE = '00000000000000aa';
const OTHER_NAMESPACE = '00000000000000ab';
const NOW_MS = 1_700_000_000_000;

const utf8 = new TextEncoder();
const text = (bytes: Uint8Array | null | undefined): string | null =>
  bytes == null ? null : new TextDecoder().decode(bytes);
const token = (value: number): Token => value.toString(16).padStart(16, '0');

export function describeTileStore(title: string, open: () => Promise<TileStoreHarness>): void {
  describe(`${title}: tile store contract`, () => {
    let harness: TileStoreHarness;
    let store: TileStore;
    let shard: number;
    let otherShard: number;

    beforeEach(async () => {
      harness = await open();
      store = harness.store;
      [shard, otherShard] = harness.shards;
    });
    afterEach(() => harness.dispose());

    const address = (key: string, overrides: Partial<StateAddress> = {}): StateAddress => ({
      namespace: NAMESPACE,
      key,
      shard,
      ...overrides,
    });

    const write = (
      at: StateAddress,
      expected: Token | null,
      next: number | null,
      fields: Record<string, string | null> = {},
      head = `head ${next}`,
    ): CompareAndSet => ({
      address: at,
      expected,
      next: next === null ? null : { token: token(next), head: utf8.encode(head) },
      changes: new Map(
        Object.entries(fields).map(([name, value]) => [name, value === null ? null : utf8.encode(value)]),
      ),
    });

    const see = async (at: StateAddress, fields: string[] = []) => {
      const [state] = await store.read([{ address: at, fields }]);
      return { token: state!.token, head: text(state!.head), fields: state!.fields.map(text) };
    };

    const cas = async (...writes: CompareAndSet[]): Promise<boolean[]> => store.compareAndSet(writes);

    describe('states', () => {
      it('answers null for a state that does not exist', async () => {
        expect(await see(address('nobody'), ['a', 'b'])).toEqual({
          token: null,
          head: null,
          fields: [null, null],
        });
        const [state] = await store.read([{ address: address('nobody'), fields: [] }]);
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
        await store.compareAndSet([
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
        const states = await store.read(
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
          ['x', 'y'].map((key) => store.read([{ address: address(key), fields: ['a'] }])),
        );
        expect([text(x![0]!.fields[0]), text(y![0]!.fields[0])]).toEqual(['of x', 'of y, longer']);
      });

      it('takes values of 1 MB', async () => {
        const head = new Uint8Array(1_000_000).map((_, i) => i % 251);
        const field = new Uint8Array(1_000_001).map((_, i) => i % 241);
        await store.compareAndSet([
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
        const [state] = await store.read([{ address: address('big'), fields: ['f', 's', 'f'] }]);
        expect(Buffer.compare(state!.head!, head)).toBe(0);
        expect(Buffer.compare(state!.fields[0]!, field)).toBe(0);
        expect(text(state!.fields[1])).toBe('small');
        expect(Buffer.compare(state!.fields[2]!, field)).toBe(0);
      });

      it('does nothing for empty calls', async () => {
        expect(await store.read([])).toEqual([]);
        expect(await store.compareAndSet([])).toEqual([]);
        expect(await store.moveWatermarks([])).toEqual([]);
        expect(await store.readWatermarks(shard, [])).toEqual([]);
        await store.dropDue([]);
      });
    });

    describe('hostile keys', () => {
      const keys = [
        '',
        ' ',
        '\0',
        '\0\0',
        'a',
        'a\0',
        'a\0b',
        'ab',
        '}',
        '{',
        '{a}',
        'a}b',
        'a:b',
        'a:b:c',
        '*',
        '?',
        '\n',
        '\r\n',
        '😀',
        '😀😀',
        'é',
        'e\u0301',
        '\u{FEFF}',
        '\u{FEFF}a',
        '\uFFFD',
        '__proto__',
        'constructor',
        'ÿ',
        '\u{10FFFF}',
        '0',
        '00',
        'x'.repeat(1024),
        '€'.repeat(341),
      ];

      it('round-trips every well-formed key to its own state', async () => {
        await cas(...keys.map((key, i) => write(address(key), null, i + 1, { a: `field of ${i}` })));
        for (const [i, key] of keys.entries()) {
          expect(await see(address(key), ['a'])).toEqual({
            token: token(i + 1),
            head: `head ${i + 1}`,
            fields: [`field of ${i}`],
          });
        }
      });

      it('gives them back from the due index as they are', async () => {
        await cas(...keys.map((key, i) => ({ ...write(address(key), null, 1), dueMs: NOW_MS + i })));
        const entries = await store.leaseDue({
          shard,
          nowMs: NOW_MS + keys.length,
          leaseUntilMs: NOW_MS * 2,
          limit: 1000,
        });
        expect(entries.map((entry) => entry.address)).toEqual(keys.map((key) => address(key)));
      });

      it('refuses lone surrogates, which UTF-8 would make equal', async () => {
        for (const key of ['\uD800', '\uDC00', 'a\uD83D', '\uDE00\uD83D']) {
          await expect(store.read([{ address: address(key), fields: [] }])).rejects.toThrow(/lone surrogate/);
          await expect(cas(write(address(key), null, 1))).rejects.toThrow(/lone surrogate/);
        }
      });

      it('refuses keys of more than 1024 UTF-8 bytes, without echoing them', async () => {
        for (const key of ['x'.repeat(1025), '€'.repeat(342), '😀'.repeat(257)]) {
          const error = await cas(write(address(key), null, 1)).then(
            () => null,
            (reason: Error) => reason,
          );
          expect(error?.message).toMatch(/1024/);
          expect(error?.message).not.toContain(key.slice(0, 4));
        }
      });

      it('refuses field names, tokens and namespaces of another shape, and then writes nothing of the call', async () => {
        const good = write(address('good'), null, 1);
        for (const field of ['', 'a b', 'a\0', 'ü', 'x'.repeat(17), '}']) {
          await expect(cas(good, write(address('k'), null, 1, { [field]: 'x' }))).rejects.toThrow(
            /field name/,
          );
          await expect(store.read([{ address: address('k'), fields: [field] }])).rejects.toThrow(
            /field name/,
          );
        }
        for (const bad of ['', '1', 'G000000000000000', 'A000000000000000', '00000000000000001']) {
          await expect(cas(good, write(address('k'), bad, 1))).rejects.toThrow(/token/);
          await expect(cas(good, write(address('k', { namespace: bad }), null, 1))).rejects.toThrow(
            /namespace/,
          );
        }
        expect((await see(address('good'))).token).toBeNull();
      });

      it('keeps namespaces apart', async () => {
        await cas(write(address('k'), null, 1), write(address('k', { namespace: OTHER_NAMESPACE }), null, 2));
        expect((await see(address('k'))).token).toBe(token(1));
        expect((await see(address('k', { namespace: OTHER_NAMESPACE }))).token).toBe(token(2));
      });
    });

    const name = (overrides: Partial<WatermarkName> = {}): WatermarkName => ({
      namespace: NAMESPACE,
      source: 'payments',
      partition: 0,
      ...overrides,
    });
    const mark = (nextOffset: number, id: number, overrides: Partial<Watermark> = {}): Watermark => ({
      nextOffset,
      token: token(id),
      maxEventTimeMs: NOW_MS,
      appendedMs: 7,
      clockMs: 0,
      logIdentity: 'cluster/topic/0',
      ...overrides,
    });
    const move = async (
      expected: Token | null,
      next: Watermark,
      at: WatermarkName = name(),
      inShard = shard,
    ): Promise<boolean> => {
      const incarnation = await store.incarnation(inShard);
      return (await store.moveWatermarks([{ shard: inShard, name: at, expected, incarnation, next }]))[0]!;
    };

    describe('watermarks', () => {
      it('has a stable incarnation that is not empty', async () => {
        const incarnation = await store.incarnation(shard);
        expect(incarnation).not.toBe('');
        await cas(write(address('k'), null, 1));
        expect(await store.incarnation(shard)).toBe(incarnation);
      });

      it('creates, moves and reads them whole', async () => {
        expect(await store.readWatermarks(shard, [name()])).toEqual([null]);
        expect(await move(null, mark(0, 1, { maxEventTimeMs: -1 }))).toBe(true);
        expect(await store.readWatermarks(shard, [name()])).toEqual([mark(0, 1, { maxEventTimeMs: -1 })]);
        const far = mark(Number.MAX_SAFE_INTEGER, 2, { logIdentity: '\u{FEFF}€ }', maxEventTimeMs: 8.64e15 });
        expect(await move(token(1), far)).toBe(true);
        expect(await store.readWatermarks(shard, [name(), name({ partition: 1 })])).toEqual([far, null]);
      });

      it('refuses a move from an absent or stale token', async () => {
        expect(await move(token(1), mark(5, 2))).toBe(false);
        expect(await move(null, mark(5, 2))).toBe(true);
        expect(await move(null, mark(6, 3))).toBe(false);
        expect(await move(token(1), mark(6, 3))).toBe(false);
        expect(await store.readWatermarks(shard, [name()])).toEqual([mark(5, 2)]);
      });

      it('tells two watermarks at the same offset apart', async () => {
        await move(null, mark(5, 1));
        expect(await move(token(1), mark(5, 2))).toBe(true);
        expect(await move(token(1), mark(6, 3))).toBe(false);
      });

      it('refuses a move under another incarnation', async () => {
        const moves = [
          { shard, name: name(), expected: null, incarnation: 'not this one', next: mark(5, 1) },
        ];
        expect(await store.moveWatermarks(moves)).toEqual([false]);
        expect(await store.readWatermarks(shard, [name()])).toEqual([null]);
      });

      it('keeps names and shards apart, and the moves of one call independent', async () => {
        const names = [
          name(),
          name({ partition: 1 }),
          name({ source: 'payments1' }),
          name({ source: '' }),
          name({ namespace: OTHER_NAMESPACE }),
          name({ partition: 4095, source: 'a}\0😀' }),
        ];
        const incarnation = await store.incarnation(shard);
        await move(null, mark(1, 99), names[1]);
        const results = await store.moveWatermarks(
          names.map((at, i) => ({ shard, name: at, expected: null, incarnation, next: mark(i, i + 1) })),
        );
        expect(results).toEqual([true, false, true, true, true, true]);
        expect((await store.readWatermarks(shard, names)).map((found) => found?.token)).toEqual(
          [1, 99, 3, 4, 5, 6].map(token),
        );
        expect(await store.readWatermarks(otherShard, names)).toEqual(names.map(() => null));
      });

      it('reads them with a state, in the order asked', async () => {
        await move(null, mark(5, 1));
        await move(null, mark(7, 2), name({ partition: 3 }));
        await move(null, mark(9, 3), name(), otherShard);
        const [state] = await store.read([
          {
            address: address('k'),
            fields: [],
            watermarks: [name({ partition: 3 }), name({ partition: 9 }), name()],
          },
        ]);
        expect(state).toMatchObject({ token: null, watermarks: [mark(7, 2), null, mark(5, 1)] });
      });
    });

    it('reads head, fields and watermarks of one request at one instant', async () => {
      const at = address('torn?');
      const fields = Array.from({ length: 40 }, (_, i) => `f${i}`);
      const version = (n: number) => Object.fromEntries(fields.map((field) => [field, `${n} `.repeat(30)]));
      await cas(write(at, null, 1, version(1), '1'));
      let written = 1;
      const writer = (async () => {
        for (let n = 2; n <= 60; n++) {
          await cas(write(at, token(n - 1), n, version(n), `${n}`));
          await move(n === 2 ? null : token(n - 1), mark(n, n));
          written = n;
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      let reads = 0;
      let seen = 0;
      while (written < 60) {
        const before = written;
        const [state] = await store.read([{ address: at, fields, watermarks: [name()] }]);
        const n = Number(text(state!.head));
        expect(state!.token).toBe(token(n));
        expect(new Set(state!.fields.map(text))).toEqual(new Set([`${n} `.repeat(30)]));
        // A watermark moves only after its write: at one instant it is never ahead, and at most one write behind.
        const applied = state!.watermarks[0]?.nextOffset ?? 1;
        expect([n, n - 1]).toContain(applied);
        expect(n).toBeGreaterThanOrEqual(Math.max(before, seen));
        seen = n;
        reads++;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await writer;
      expect(reads).toBeGreaterThan(5);
    });

    describe('due index', () => {
      const due = (key: string, overrides: Partial<StateAddress> = {}) => address(key, overrides);
      const lease = (nowMs: number, leaseUntilMs: number, limit = 100, inShard = shard) =>
        store.leaseDue({ shard: inShard, nowMs, leaseUntilMs, limit });

      /** Writes states that are due. */
      const enter = async (...entries: readonly (readonly [StateAddress, number])[]): Promise<void> => {
        const won = await cas(...entries.map(([at, dueMs]) => ({ ...write(at, null, 1), dueMs })));
        expect(won).toEqual(entries.map(() => true));
      };

      it('leases what is due, earliest first, up to the limit', async () => {
        await enter(
          ...['c', 'a', 'd', 'b'].map((key) => [due(key), NOW_MS + 10 * key.charCodeAt(0)] as const),
        );
        const at = NOW_MS + 10 * 'c'.charCodeAt(0);
        expect(await store.countDue(shard, at)).toBe(3);
        expect(await store.countDue(shard, at - 1)).toBe(2);
        expect(await store.countDue(shard, 0)).toBe(0);
        const first = await lease(at, at + 1000, 2);
        expect(first).toEqual([
          { address: due('a'), dueMs: at - 20, leasedUntilMs: at + 1000 },
          { address: due('b'), dueMs: at - 10, leasedUntilMs: at + 1000 },
        ]);
        expect((await lease(at, at + 1000)).map((entry) => entry.address.key)).toEqual(['c']);
        expect(await lease(at, at + 1000)).toEqual([]);
        expect(await lease(at + 999, at + 2000, 0)).toEqual([]);
      });

      it('has the time that the last write set; a write that names none leaves it', async () => {
        await enter([due('k'), 500]);
        await cas({ ...write(due('k'), token(1), 2), dueMs: 300 });
        expect(await store.countDue(shard, 300)).toBe(1);
        await cas({ ...write(due('k'), token(2), 3), dueMs: 900 });
        expect(await store.countDue(shard, 899)).toBe(0);
        await cas(write(due('k'), token(3), 4));
        expect(await store.countDue(shard, 899)).toBe(0);
        expect(await store.countDue(shard, 900)).toBe(1);
      });

      it('does not change with a write that loses', async () => {
        await enter([due('k'), 500]);
        expect(await cas({ ...write(due('k'), token(7), 2), dueMs: 100 })).toEqual([false]);
        expect(await cas({ ...write(due('new'), token(7), 2), dueMs: 100 })).toEqual([false]);
        expect(await store.countDue(shard, 499)).toBe(0);
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

      it('drops an entry only while it is where the lease set it', async () => {
        await enter([due('a'), 100], [due('b'), 101], [due('c'), 102]);
        const entries = await lease(200, 1000);
        await cas({ ...write(due('b'), token(1), 2), dueMs: 700 });
        await store.dropDue([entries[0]!, entries[1]!]);
        expect((await lease(1e6, 2e6)).map((entry) => [entry.address.key, entry.dueMs])).toEqual([
          ['b', 700],
          ['c', 1000],
        ]);
        expect((await store.read([{ address: due('a'), fields: [] }]))[0]!.token).toBe(token(1));
      });

      it('ignores dropping what does not exist', async () => {
        await store.dropDue([{ address: due('never'), dueMs: 1, leasedUntilMs: 5 }]);
        expect(await store.countDue(shard, 1e15)).toBe(0);
      });

      it('keeps shards and namespaces apart', async () => {
        await enter(
          [due('k'), 100],
          [due('k', { namespace: OTHER_NAMESPACE }), 101],
          [due('other', { shard: otherShard }), 50],
        );
        expect(await store.countDue(shard, 200)).toBe(2);
        const entries = await lease(200, 1000);
        expect(entries.map((entry) => entry.address.namespace)).toEqual([NAMESPACE, OTHER_NAMESPACE]);
        expect((await lease(200, 1000, 100, otherShard)).map((entry) => entry.address)).toEqual([
          due('other', { shard: otherShard }),
        ]);
        await store.dropDue(entries);
        expect(await store.countDue(shard, 1e15)).toBe(0);
        expect(await store.countDue(otherShard, 1e15)).toBe(1);
      });

      it('shares entries between concurrent compactors without giving one out twice', async () => {
        await enter(...Array.from({ length: 30 }, (_, i) => [due(`k${i}`), 100 + i] as const));
        const leases = await Promise.all(Array.from({ length: 5 }, () => lease(1000, 5000, 10)));
        const keys = leases.flat().map((entry) => entry.address.key);
        expect(keys).toHaveLength(30);
        expect(new Set(keys).size).toBe(30);
      });
    });

    it('closes twice without harm and answers nothing afterwards', async () => {
      await cas(write(address('k'), null, 1));
      await Promise.all([store.close(), store.close()]);
      await store.close();
      await expect(store.read([{ address: address('k'), fields: [] }])).rejects.toThrow(/closed/);
      await expect(cas(write(address('k'), token(1), 2))).rejects.toThrow(/closed/);
    });
  });
}
