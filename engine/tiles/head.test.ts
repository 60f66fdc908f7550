import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import {
  decodeHead,
  emptyHead,
  encodeHead,
  type Head,
  tailOffset,
  tailPartition,
  tailStorages,
} from './head.ts';
import { allocateRows } from './row-block.ts';

const storages = tailStorages(['number', 'text']);

function head(): Head {
  const tail = allocateRows(2, storages);
  tail.times.set([1_700_000_000_000, 1_700_000_000_001]);
  tail.idHi.set([0x8000_0000, 0x8000_0000]);
  tail.idLo.set([7, 3]);
  (tail.columns[0] as Float64Array).set([1.5, Number.NaN]);
  (tail.columns[1] as (string | null)[])[0] = 'x';
  (tail.columns[2] as Float64Array).set([3, 0]);
  (tail.columns[3] as Float64Array).set([2 ** 51, 0]);
  return {
    dueMs: 0,
    floors: new Map([
      [0, 5],
      [11, 2 ** 52],
    ]),
    early: new Map([
      [0, new Set([5, 9])],
      [4, new Set([0, 2 ** 52])],
    ]),
    newestFolded: { timeMs: 1_699_999_999_999, id: { hi: 0xffff_ffff, lo: 1 } },
    crowded: true,
    tail,
  };
}

function encoded(value: Head): Uint8Array {
  const w = new ByteWriter();
  encodeHead(value, storages, w);
  return w.finish();
}

test('a head comes back as it was', () => {
  const r = new ByteReader(encoded(head()));
  const back = decodeHead(r, storages);
  expect(r.done).toBe(true);
  expect(back).toEqual(head());
  expect([tailPartition(back.tail, 0), tailOffset(back.tail, 0)]).toEqual([3, 2 ** 51]);
  expect([tailPartition(back.tail, 1), tailOffset(back.tail, 1)]).toEqual([0, 0]);
});

test('no due time and a due time of 0 are two things', () => {
  expect(decodeHead(new ByteReader(encoded(emptyHead(storages))), storages)).toEqual(emptyHead(storages));
  expect(decodeHead(new ByteReader(encoded({ ...head(), dueMs: 0 })), storages).dueMs).toBe(0);
});

test('a head of another version, or cut off, is refused', () => {
  const bytes = encoded(head());
  const other = bytes.slice();
  other[0] = 99;
  expect(() => decodeHead(new ByteReader(other), storages)).toThrow(CorruptBytesError);
  for (let end = 0; end < bytes.length; end++) {
    expect(() => decodeHead(new ByteReader(bytes, 0, end), storages)).toThrow(CorruptBytesError);
  }
});
