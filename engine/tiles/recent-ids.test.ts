import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import { type EventId, integerEventId } from '../event-id.ts';
import { RecentIds } from './recent-ids.ts';

const HORIZON_MS = 100;
const ANY_NUMBER = Number.POSITIVE_INFINITY;

function encoded(ids: RecentIds): Uint8Array {
  const w = new ByteWriter();
  ids.encode(w);
  return w.finish();
}

const again = (ids: RecentIds): RecentIds => RecentIds.decode(new ByteReader(encoded(ids)));

test('an id is known within the horizon of its event time, on both sides, and no further', () => {
  const ids = RecentIds.empty();
  ids.add(integerEventId(-7), 1000);
  for (const known of [ids, again(ids)]) {
    for (const [timeMs, expected] of [
      [899, false],
      [900, true],
      [1000, true],
      [1100, true],
      [1101, false],
    ] as const) {
      expect(known.has(integerEventId(-7), timeMs, HORIZON_MS)).toBe(expected);
    }
    expect(known.has(integerEventId(7), 1000, HORIZON_MS)).toBe(false);
  }
});

test('ids with equal halves in other places are told apart', () => {
  const ids = RecentIds.empty();
  const id: EventId = { hi: 1, lo: 2 };
  ids.add(id, 0);
  expect(ids.has(id, 0, HORIZON_MS)).toBe(true);
  expect(ids.has({ hi: 2, lo: 1 }, 0, HORIZON_MS)).toBe(false);
  expect(ids.has({ hi: 1, lo: 1 }, 0, HORIZON_MS)).toBe(false);
});

test('asked many times, the answers are the same as from a scan', () => {
  const ids = RecentIds.empty();
  for (let i = 0; i < 40; i++) {
    const id: EventId = { hi: i % 2, lo: i % 5 };
    for (let j = 0; j < 40; j++) {
      const asked: EventId = { hi: j % 2, lo: j % 5 };
      const expected = [...Array(i).keys()].some(
        (k) => k % 10 === j % 10 && Math.abs(k - j) * 60 <= HORIZON_MS,
      );
      expect(ids.has(asked, j * 60, HORIZON_MS), `${i} ids, asked for ${j}`).toBe(expected);
    }
    ids.add(id, i * 60);
    if (i === 20) ids.prune(1_000_000, 0, ANY_NUMBER);
  }
});

test('pruning keeps the horizon up to the newest event, whole', () => {
  const ids = RecentIds.empty();
  for (const timeMs of [899, 900, 901, 1000]) ids.add(integerEventId(timeMs), timeMs);
  ids.prune(HORIZON_MS, 0, ANY_NUMBER);
  expect(ids.fromMs).toBe(900);
  const known = again(ids);
  expect(known.fromMs).toBe(900);
  expect(known.newestMs).toBe(1000);
  const found = [899, 900, 901, 1000].map((timeMs) => known.has(integerEventId(timeMs), timeMs, HORIZON_MS));
  expect(found).toEqual([false, true, true, true]);
});

describe('of too many ids the newest stay', () => {
  const filled = (...times: readonly number[]): RecentIds => {
    const ids = RecentIds.empty();
    times.forEach((timeMs, i) => {
      ids.add(integerEventId(i), timeMs);
    });
    return ids;
  };
  const known = (ids: RecentIds, times: readonly number[]): number[] =>
    times.filter((timeMs, i) => ids.has(integerEventId(i), timeMs, HORIZON_MS));

  test.each([
    ['as many as may be', [1, 2, 3], 3, [1, 2, 3], 0],
    ['one more', [1, 2, 3, 4], 3, [2, 3, 4], 2],
    ['in any order', [4, 1, 3, 2], 3, [4, 3, 2], 2],
    ['the cut within a millisecond, which goes whole', [1, 2, 2, 2, 3], 3, [3], 3],
    ['the cut at the end of a millisecond', [1, 2, 2, 3, 3], 4, [2, 2, 3, 3], 2],
    ['a crowded millisecond before the newest', [1, 2, 2, 2, 2, 2, 3], 2, [3], 3],
    ['too many in the newest millisecond', [1, 3, 3, 3], 2, [], 4],
    ['none may stay', [1, 2], 0, [], 3],
    ['the horizon comes first', [1, 2, 150, 151], 3, [150, 151], 51],
  ])('%s', (_, times, idsMax, kept, fromMs) => {
    const ids = filled(...times);
    ids.prune(HORIZON_MS, 0, idsMax);
    for (const same of [ids, again(ids)]) {
      expect(known(same, times)).toEqual(kept);
      expect(same.length).toBe(kept.length);
      expect(same.fromMs).toBe(fromMs);
      expect(same.newestMs).toBe(Math.max(...times));
    }
  });

  test('those that stay are all with time ≥ fromMs, and one millisecond more would be too many', () => {
    const times = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(fc.array(times, { minLength: 1, maxLength: 4 }), fc.nat(12), (batches, idsMax) => {
        const ids = RecentIds.empty();
        let all: number[] = [];
        for (const batch of batches) {
          for (const timeMs of batch) {
            // As in planIngest: what is older is told by its row.
            if (timeMs < ids.fromMs) continue;
            ids.add(integerEventId(all.length), timeMs);
            all = [...all, timeMs];
          }
          const before = ids.fromMs;
          ids.prune(HORIZON_MS, 0, idsMax);
          const kept = all.filter((timeMs) => timeMs >= ids.fromMs);
          expect(kept.length).toBeLessThanOrEqual(idsMax);
          expect(ids.length).toBe(kept.length);
          expect(known(ids, all)).toEqual(kept);
          if (ids.fromMs > before) {
            const more = all.filter((timeMs) => timeMs >= ids.fromMs - 1);
            expect(more.length).toBeGreaterThan(idsMax);
          }
        }
      }),
    );
  });

  test('late ids are not among them', () => {
    const ids = filled(1, 2, 3);
    ids.addLate(integerEventId(9), 1, 50);
    ids.prune(HORIZON_MS, 50, 1);
    expect(again(ids).has(integerEventId(9), 1, HORIZON_MS)).toBe(true);
    expect(again(ids).length).toBe(1);
  });
});

test('ids that ascend take the bytes of their differences', () => {
  const ids = RecentIds.empty();
  for (let i = 0; i < 1_000; i++) ids.add(integerEventId(1_000_000_000 + i * 60), i * 100);
  expect(encoded(ids).length).toBeLessThan(3_100);
});

test('late ids go by their append time: twice the horizon, whole', () => {
  const ids = RecentIds.empty();
  ids.addLate(integerEventId(1), 5, 799);
  ids.addLate(integerEventId(2), 5, 800);
  ids.prune(HORIZON_MS, 1000, ANY_NUMBER);
  const known = again(ids);
  expect(known.has(integerEventId(1), 5, HORIZON_MS)).toBe(false);
  expect(known.has(integerEventId(2), 5, HORIZON_MS)).toBe(true);
  expect(known.has(integerEventId(2), 106, HORIZON_MS)).toBe(false);
});

test('of too many late ids the newest by append time stay', () => {
  const ids = RecentIds.empty();
  for (let i = 0; i < 1100; i++) ids.addLate(integerEventId(i), 5, 1000 + (i % 2));
  ids.prune(HORIZON_MS, 1001, ANY_NUMBER);
  const known = again(ids);
  let kept = 0;
  for (let i = 0; i < 1100; i++) {
    const has = known.has(integerEventId(i), 5, HORIZON_MS);
    if (i % 2 === 1) expect(has).toBe(true);
    if (has) kept++;
  }
  expect(kept).toBe(1024);
});

test('the same ids have the same bytes in whatever order they came', () => {
  const entry = fc.record({ time: fc.nat(50), id: fc.nat(20), appended: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(entry), fc.array(entry), (recent, late) => {
      const fill = (entries: typeof recent, lates: typeof late): RecentIds => {
        const ids = RecentIds.empty();
        for (const { time, id } of entries) ids.add(integerEventId(id), time);
        for (const { time, id, appended } of lates) ids.addLate(integerEventId(id), time, appended);
        ids.prune(20, 60, ANY_NUMBER);
        return ids;
      };
      const bytes = encoded(fill(recent, late));
      expect(encoded(fill(recent.toReversed(), late.toReversed()))).toEqual(bytes);
      expect(encoded(RecentIds.decode(new ByteReader(bytes)))).toEqual(bytes);
    }),
  );
});

describe('damaged bytes', () => {
  test('cut off anywhere are refused', () => {
    const ids = RecentIds.empty();
    ids.add(integerEventId(1), 1000);
    ids.add(integerEventId(2), 2000);
    ids.addLate(integerEventId(3), 5, 6000);
    const bytes = encoded(ids);
    for (let end = 0; end < bytes.length; end++) {
      expect(() => RecentIds.decode(new ByteReader(bytes, 0, end))).toThrow(CorruptBytesError);
    }
  });
  test('a count beyond the bytes is refused', () => {
    const w = new ByteWriter();
    w.varint(0);
    w.varint(0);
    w.varint(2 ** 40);
    expect(() => RecentIds.decode(new ByteReader(w.finish()))).toThrow(CorruptBytesError);
  });
});
