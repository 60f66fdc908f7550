import { expect, test } from 'vitest';
import { ByteWriter } from '../bytes.ts';
import { StoreFormatError } from './store-errors.ts';
import type { Watermark } from './tile-store.ts';
import { UnappliedOffsets } from './unapplied-offsets.ts';
import { decodeWatermark, encodeWatermark } from './watermark-bytes.ts';

const watermark: Watermark = {
  token: '0123456789abcdef',
  nextOffset: 70_000,
  maxEventTimeMs: 1_700_000_000_000,
  appendedMs: 1_700_000_000_001,
  clockMs: 0,
  logIdentity: 'cluster/topic/0',
};

/** As the first format wrote it. */
function formerBytes(): Uint8Array {
  const writer = new ByteWriter();
  writer.raw(Uint8Array.from([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]));
  writer.varint(watermark.nextOffset);
  writer.f64(watermark.maxEventTimeMs);
  writer.f64(watermark.appendedMs);
  writer.f64(watermark.clockMs);
  writer.text(watermark.logIdentity);
  return writer.finish();
}

test('what is written is read: with gaps and a checksum, and without', () => {
  const gaps = [
    { fromOffset: 0, toOffset: 70, afterMs: null, untilMs: 5 },
    { fromOffset: 69_000, toOffset: 69_999, afterMs: 0, untilMs: 1_700_000_000_000 },
  ];
  const full = { ...watermark, checksum: 0xffff_ffff, gaps };
  expect(decodeWatermark(encodeWatermark(full))).toStrictEqual(full);
  expect(decodeWatermark(encodeWatermark({ ...watermark, checksum: 0 }))).toStrictEqual({
    ...watermark,
    checksum: 0,
  });
  expect(decodeWatermark(encodeWatermark(watermark))).toStrictEqual(watermark);
});

test('what was not applied is read behind the gaps, whatever else there is', () => {
  const gaps = [
    { fromOffset: 0, toOffset: 70, afterMs: null, untilMs: 5 },
    { fromOffset: 300, toOffset: 350, afterMs: 5, untilMs: 1_700_000_000_000 },
  ];
  const unapplied = UnappliedOffsets.unknownBefore(10).changed({
    added: [
      [10, 70],
      [300, 350],
      [69_999, 70_000],
    ],
    removed: new Set([320]),
  });
  const known = [9, 10, 69, 70, 299, 300, 320, 321, 349, 350, 69_998, 69_999];
  const expected = [null, false, false, true, true, false, true, false, false, true, true, false];
  for (const beside of [{}, { gaps }, { checksum: 7 }, { checksum: 7, gaps }]) {
    const { unapplied: read, ...rest } = decodeWatermark(
      encodeWatermark({ ...watermark, ...beside, unapplied }),
    );
    expect(rest).toStrictEqual({ ...watermark, ...beside });
    expect(known.map((offset) => read!.isApplied(offset))).toEqual(expected);
  }
  // Nothing unapplied is not the same as not known.
  const none = decodeWatermark(encodeWatermark({ ...watermark, gaps, unapplied: UnappliedOffsets.NONE }));
  expect(none.unapplied!.isApplied(0)).toBe(true);
  expect(decodeWatermark(encodeWatermark({ ...watermark, gaps })).unapplied).toBeUndefined();
});

test('watermarks of the first format are read: they know of no gap', () => {
  expect(decodeWatermark(formerBytes())).toStrictEqual(watermark);
});

test('a later format is refused, and the message says what to do', () => {
  const later = Uint8Array.from([...formerBytes(), 3, 0, 0]);
  expect(() => decodeWatermark(later)).toThrow(StoreFormatError);
  expect(() => decodeWatermark(later)).toThrow(/format 3.*up to 2: go on with the version that wrote it/);
});
