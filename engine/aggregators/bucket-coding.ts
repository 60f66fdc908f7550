/**
 * Bytes of the filled buckets of a histogram with many: where they lie, and how many values each has. Of one distribution the
 * counts of neighbours are alike and the gaps between them small, so both are Rice codes whose parameter follows their mean,
 * and a count is told as its difference from the mean of the two before it (M. J. Weinberger, G. Seroussi, G. Sapiro, "The
 * LOCO-I Lossless Image Compression Algorithm", 2000, sections 3.3.1, 3.3.2 and 3.6; the mean is halved each 16 numbers). Of
 * amounts over two decades that is half of what varints take: 145 bytes for a thousand of them, 310 for 30,000.
 *
 *     buckets := varint buckets · zigzag first position · blob of bits
 *     bits    := per bucket (but for the first: empty positions before it) · difference, folded as in zigzag
 *     number  := v >> k in unary and the low k bits of v; or, where v >> k is 24 or more, 24 ones and v in 54 bits
 *
 * with k the least for which N · 2^k ≥ S, where N and S begin as 1 and 2, grow by 1 and min(v, 2²⁴) with each number, and are
 * halved (rounded down) once N is 16; so k ≤ 24. Gaps and differences have an N and an S each. Before the first count the
 * counts are 1.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError, unfolded } from '../bytes.ts';
import { BitWriter } from './bit-writer.ts';

/** So many ones say that the whole number follows. Together with what a reader has left it fits 32 bits. */
const ONES_MAX = 24;
const WHOLE_BITS = 54;
const HALVED_AT = 16;
const ADDED_MAX = 2 ** 24;

/** A count, and the sum of any: `ByteWriter.varint` goes as far, and a folded difference stays exact. */
const COUNT_MAX = 2 ** 52;

const DIFFERENCE = 0;
const GAP = 1;

/** N, S and k of both kinds of numbers; used within one call only. */
const numbers = new Int32Array(2);
const sums = new Int32Array(2);
const parameters = new Int32Array(2);

function resetMeans(): void {
  numbers.fill(1);
  sums.fill(2);
  parameters.fill(1);
}

function addToMean(kind: number, value: number): void {
  let n = numbers[kind]! + 1;
  let sum = sums[kind]! + Math.min(value, ADDED_MAX);
  if (n === HALVED_AT) {
    n >>= 1;
    sum >>= 1;
  }
  let parameter = parameters[kind]!;
  while (n << parameter < sum) parameter++;
  while (parameter > 0 && n << (parameter - 1) >= sum) parameter--;
  numbers[kind] = n;
  sums[kind] = sum;
  parameters[kind] = parameter;
}

const bitWriter = new BitWriter();

function write(kind: number, value: number): void {
  const parameter = parameters[kind]!;
  const ones = Math.floor(value / 2 ** parameter);
  if (ones >= ONES_MAX) {
    bitWriter.bits(2 ** ONES_MAX - 1, ONES_MAX);
    for (let scale = 2 ** 36; scale >= 1; scale /= 2 ** 18)
      bitWriter.bits(Math.floor(value / scale) % 2 ** 18, 18);
  } else {
    bitWriter.unary(ones);
    if (parameter > 0) bitWriter.bits(value & ((1 << parameter) - 1), parameter);
  }
  addToMean(kind, value);
}

/**
 * @param positions ascending, |position| ≤ 2²¹
 * @param counts 1 ≤ count ≤ 2⁵², whole numbers
 * @param length how many buckets, ≥ 1
 */
export function encodeBuckets(
  positions: Int32Array,
  counts: Float64Array,
  length: number,
  w: ByteWriter,
): void {
  w.varint(length);
  w.zigzag(positions[0]!);
  bitWriter.clear();
  resetMeans();
  let before = 1;
  let last = 1;
  for (let i = 0; i < length; i++) {
    if (i > 0) write(GAP, positions[i]! - positions[i - 1]! - 1);
    const count = counts[i]!;
    const difference = count - Math.floor((before + last) / 2);
    write(DIFFERENCE, difference < 0 ? -2 * difference - 1 : 2 * difference);
    before = last;
    last = count;
  }
  w.blob(bitWriter.finish());
}

/**
 * Writes the buckets into the two arrays.
 * @param bounds.lengthMax the most that there may be
 * @param bounds.positionMax the greatest magnitude of a position
 * @returns how many
 */
export function decodeBuckets(
  positions: Int32Array,
  counts: Float64Array,
  bounds: { readonly lengthMax: number; readonly positionMax: number },
  r: ByteReader,
): number {
  const length = r.varint();
  if (length < 1 || length > bounds.lengthMax)
    throw new CorruptBytesError(`${length} buckets where 1 to ${bounds.lengthMax} are kept`);
  let position = r.zigzag();
  const bytes = r.blob();
  resetMeans();
  let before = 1;
  let last = 1;
  // Bits are read in place, as those of registers are: a read of many blocks does little else. Behind the end they are 0.
  let at = 0;
  let window = 0;
  let bits = 0;
  for (let i = 0; i < 2 * length - 1; i++) {
    const kind = i % 2;
    for (; bits <= 24; bits += 8) window |= byteAt(bytes, at++) << (24 - bits);
    let value = Math.clz32(~window);
    let rest = parameters[kind]!;
    if (value < ONES_MAX) {
      window <<= value + 1;
      bits -= value + 1;
    } else {
      window <<= ONES_MAX;
      bits -= ONES_MAX;
      value = 0;
      rest = WHOLE_BITS;
    }
    while (rest > 0) {
      for (; bits <= 24; bits += 8) window |= byteAt(bytes, at++) << (24 - bits);
      const taken = Math.min(rest, 18);
      value = value * (1 << taken) + (window >>> (32 - taken));
      window <<= taken;
      bits -= taken;
      rest -= taken;
    }
    addToMean(kind, value);
    if (kind === GAP) {
      position += 1 + value;
      continue;
    }
    const count = Math.floor((before + last) / 2) + unfolded(value);
    if (count < 1 || count > COUNT_MAX || Math.abs(position) > bounds.positionMax)
      throw new CorruptBytesError(`${count} values in bucket ${position}`);
    positions[i / 2] = position;
    counts[i / 2] = count;
    before = last;
    last = count;
  }
  if (at - Math.floor(bits / 8) !== bytes.length) throw new CorruptBytesError('buckets of another length');
  return length;
}

function byteAt(bytes: Uint8Array, at: number): number {
  return at < bytes.length ? bytes[at]! : 0;
}
