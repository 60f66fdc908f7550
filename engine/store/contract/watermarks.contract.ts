/** Watermarks, and reads of them together with states. */
import { describe, expect, it } from 'vitest';
import {
  NAMESPACE,
  NOW_MS,
  type OpenedStore,
  OTHER_NAMESPACE,
  text,
  token,
} from '../testing/opened-store.ts';
import type { Token, Watermark, WatermarkName } from '../tile-store.ts';
import { UnappliedOffsets } from '../unapplied-offsets.ts';

export function describeWatermarks(opened: OpenedStore): void {
  const { address, write, cas } = opened;

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
    inShard = opened.shard,
  ): Promise<boolean> => {
    const incarnation = await opened.store.incarnation(inShard);
    return (
      await opened.store.moveWatermarks([{ shard: inShard, name: at, expected, incarnation, next }])
    )[0]!;
  };

  describe('watermarks', () => {
    it('has a stable incarnation that is not empty', async () => {
      const incarnation = await opened.store.incarnation(opened.shard);
      expect(incarnation).not.toBe('');
      await cas(write(address('k'), null, 1));
      expect(await opened.store.incarnation(opened.shard)).toBe(incarnation);
    });

    it('creates, moves and reads them whole', async () => {
      expect(await opened.store.readWatermarks(opened.shard, [name()])).toEqual([null]);
      expect(await move(null, mark(0, 1, { maxEventTimeMs: -1 }))).toBe(true);
      expect(await opened.store.readWatermarks(opened.shard, [name()])).toEqual([
        mark(0, 1, { maxEventTimeMs: -1 }),
      ]);
      const far = mark(Number.MAX_SAFE_INTEGER, 2, { logIdentity: '\u{FEFF}€ }', maxEventTimeMs: 8.64e15 });
      expect(await move(token(1), far)).toBe(true);
      expect(await opened.store.readWatermarks(opened.shard, [name(), name({ partition: 1 })])).toEqual([
        far,
        null,
      ]);
      const ranges = {
        added: [
          [0, 1],
          [3, 5],
          [8, 9],
        ],
        removed: new Set<number>(),
      } as const;
      const holed = mark(20, 3, { unapplied: UnappliedOffsets.NONE.changed(ranges) });
      expect(await move(token(2), holed)).toBe(true);
      const [read] = await opened.store.readWatermarks(opened.shard, [name()]);
      const unapplied = [0, 1, 2, 3, 4, 5, 8, 9].filter((at) => read!.unapplied!.isApplied(at) === false);
      expect(unapplied).toEqual([0, 3, 4, 8]);
    });

    it('keeps gaps and the checksum with them, and forgets what a move leaves out', async () => {
      const gaps = [
        { fromOffset: 0, toOffset: 3, afterMs: null, untilMs: NOW_MS },
        { fromOffset: 4, toOffset: 5, afterMs: 7, untilMs: NOW_MS + 1 },
      ];
      const marked = mark(5, 1, { gaps, checksum: 0xffff_ffff });
      expect(await move(null, marked)).toBe(true);
      expect(await opened.store.readWatermarks(opened.shard, [name()])).toStrictEqual([marked]);
      expect((await opened.store.look(opened.shard, [name()])).watermarks).toStrictEqual([marked]);
      expect(await move(token(1), mark(6, 2))).toBe(true);
      expect(await opened.store.readWatermarks(opened.shard, [name()])).toStrictEqual([mark(6, 2)]);
    });

    it('refuses a move from an absent or stale token', async () => {
      expect(await move(token(1), mark(5, 2))).toBe(false);
      expect(await move(null, mark(5, 2))).toBe(true);
      expect(await move(null, mark(6, 3))).toBe(false);
      expect(await move(token(1), mark(6, 3))).toBe(false);
      expect(await opened.store.readWatermarks(opened.shard, [name()])).toEqual([mark(5, 2)]);
    });

    it('tells two watermarks at the same offset apart', async () => {
      await move(null, mark(5, 1));
      expect(await move(token(1), mark(5, 2))).toBe(true);
      expect(await move(token(1), mark(6, 3))).toBe(false);
    });

    it('refuses a move under another incarnation', async () => {
      const moves = [
        { shard: opened.shard, name: name(), expected: null, incarnation: 'not this one', next: mark(5, 1) },
      ];
      expect(await opened.store.moveWatermarks(moves)).toEqual([false]);
      expect(await opened.store.readWatermarks(opened.shard, [name()])).toEqual([null]);
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
      const incarnation = await opened.store.incarnation(opened.shard);
      await move(null, mark(1, 99), names[1]);
      const results = await opened.store.moveWatermarks(
        names.map((at, i) => ({
          shard: opened.shard,
          name: at,
          expected: null,
          incarnation,
          next: mark(i, i + 1),
        })),
      );
      expect(results).toEqual([true, false, true, true, true, true]);
      expect((await opened.store.readWatermarks(opened.shard, names)).map((found) => found?.token)).toEqual(
        [1, 99, 3, 4, 5, 6].map(token),
      );
      expect(await opened.store.readWatermarks(opened.otherShard, names)).toEqual(names.map(() => null));
    });

    it('reads them with a state, in the order asked', async () => {
      await move(null, mark(5, 1));
      await move(null, mark(7, 2), name({ partition: 3 }));
      await move(null, mark(9, 3), name(), opened.otherShard);
      const [state] = await opened.store.read([
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
      const [state] = await opened.store.read([{ address: at, fields, watermarks: [name()] }]);
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
}
