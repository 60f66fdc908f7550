/**
 * Bytes of HyperLogLog registers. A register needs at most some 2.8 bits to be told, not the six it could use, and while
 * there are few values most registers are zero. So registers are written in whichever of three ways takes the fewest bytes:
 *
 *     registers := u8 way · blob
 *       way 0       blob: u8 n, n × u8 rank, the ranks that occur, most frequent first (equally frequent ones ascending), n ≤ 25
 *                   · per register its rank's place in that list, in unary: so many ones and a zero
 *       way 16 + g  blob: varint registers that are not zero · per one of them the number of zeros before it as a Rice code
 *                   with parameter g ≤ 13 (R. F. Rice, "Some practical universal noiseless coding techniques", 1979): the
 *                   bits from the g-th on in unary, then the low g bits; and its rank less one in unary
 *       way 64      blob: 6 bits a register, four registers in three bytes, little-endian
 *
 * Frequencies fall by about half from one rank to the next on either side of the most frequent one, so that unary is within
 * a fifth of the entropy: some 3.3 bits. Bits fill bytes as `BitWriter` does. Of ways that
 * take the same, the lowest: equal registers have equal bytes.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import { BitWriter } from './bit-writer.ts';

const UNARY = 0;
/** More ranks than this do not occur where unary is the shortest; and one look at the next 25 bits is enough. */
const UNARY_RANKS_MAX = 25;
const SPARSE = 16;
const SPARSE_PARAMETER_MAX = 13;
const PACKED = 64;

/** The most bytes that 2^precision registers take, way and length included. */
export function registerBytesMax(precision: number): number {
  return (2 ** precision / 4) * 3 + 4;
}

const bitWriter = new BitWriter();

/** The bits of a number from the `parameter`-th on in unary, then its low bits. */
function writeRice(value: number, parameter: number): void {
  bitWriter.unary(value >>> parameter);
  if (parameter > 0) bitWriter.bits(value & ((1 << parameter) - 1), parameter);
}

/** How many registers have each rank; used within one call only. */
const histogram = new Uint32Array(64);
const places = new Uint8Array(64);

interface Way {
  readonly way: number;
  readonly bits: number;
}

function ranksByFrequency(): number[] {
  const ranks: number[] = [];
  for (let rank = 0; rank < histogram.length; rank++) if (histogram[rank]! > 0) ranks.push(rank);
  return ranks.sort((a, b) => histogram[b]! - histogram[a]! || a - b);
}

function unaryWay(ranks: readonly number[]): Way {
  if (ranks.length > UNARY_RANKS_MAX) return { way: UNARY, bits: Number.POSITIVE_INFINITY };
  let bits = 8 * (1 + ranks.length);
  ranks.forEach((rank, place) => {
    bits += histogram[rank]! * (place + 1);
  });
  return { way: UNARY, bits };
}

/** @param bitsMax no need to count on from here: another way is as short */
function bestSparse(registers: Uint8Array, bitsMax: number): Way {
  let ranks = 0;
  for (let rank = 1; rank < histogram.length; rank++) ranks += histogram[rank]! * rank;
  const filled = registers.length - histogram[0]!;
  // Within a bit a gap of the parameter that suits the mean gap: no need to try them all.
  const meanGap = histogram[0]! / (filled + 1);
  const parameter = Math.min(SPARSE_PARAMETER_MAX, Math.max(0, Math.floor(Math.log2(meanGap + 1))));
  let bits = 8 * varintBytes(filled) + ranks + filled * (1 + parameter);
  for (let i = 0, gap = 0; i < registers.length && bits < bitsMax; i++) {
    if (registers[i] === 0) {
      gap++;
    } else {
      bits += gap >>> parameter;
      gap = 0;
    }
  }
  return { way: SPARSE + parameter, bits };
}

function varintBytes(value: number): number {
  return value < 2 ** 7 ? 1 : value < 2 ** 14 ? 2 : 3;
}

/** @param registers 2⁴ to 2¹⁴, each < 64 */
export function encodeRegisters(registers: Uint8Array, w: ByteWriter): void {
  histogram.fill(0);
  for (let i = 0; i < registers.length; i++) histogram[registers[i]!]!++;
  const ranks = ranksByFrequency();
  const packed: Way = { way: PACKED, bits: registers.length * 6 };
  const unary = unaryWay(ranks);
  const best = [unary, bestSparse(registers, unary.bits), packed].reduce((a, b) =>
    Math.ceil(b.bits / 8) < Math.ceil(a.bits / 8) ? b : a,
  );
  w.u8(best.way);
  bitWriter.clear();
  if (best.way === PACKED) writePacked(registers);
  else if (best.way === UNARY) writeUnary(registers, ranks);
  else writeSparse(registers, registers.length - histogram[0]!, best.way - SPARSE);
  w.blob(bitWriter.finish());
}

function writeUnary(registers: Uint8Array, ranks: readonly number[]): void {
  bitWriter.byte(ranks.length);
  for (const rank of ranks) bitWriter.byte(rank);
  ranks.forEach((rank, place) => {
    places[rank] = place;
  });
  for (let i = 0; i < registers.length; i++) bitWriter.unary(places[registers[i]!]!);
}

function writeSparse(registers: Uint8Array, filled: number, parameter: number): void {
  let rest = filled;
  for (; rest >= 0x80; rest >>>= 7) bitWriter.byte((rest & 0x7f) | 0x80);
  bitWriter.byte(rest);
  let gap = 0;
  for (let i = 0; i < registers.length; i++) {
    const rank = registers[i]!;
    if (rank === 0) {
      gap++;
      continue;
    }
    writeRice(gap, parameter);
    bitWriter.unary(rank - 1);
    gap = 0;
  }
}

function writePacked(registers: Uint8Array): void {
  for (let i = 0; i < registers.length; i += 4) {
    const four =
      registers[i]! | (registers[i + 1]! << 6) | (registers[i + 2]! << 12) | (registers[i + 3]! << 18);
    bitWriter.byte(four & 0xff);
    bitWriter.byte((four >>> 8) & 0xff);
    bitWriter.byte(four >>> 16);
  }
}

/**
 * Raises each register to the encoded one where that is greater.
 * @param rankMax the greatest that a register can be
 */
export function absorbRegisters(registers: Uint8Array, rankMax: number, r: ByteReader): void {
  const way = r.u8();
  const bytes = r.blob();
  if (way === PACKED) absorbPacked(registers, rankMax, bytes);
  else if (way === UNARY) absorbUnary(registers, rankMax, bytes);
  else if (way >= SPARSE && way <= SPARSE + SPARSE_PARAMETER_MAX)
    absorbSparse(registers, rankMax, bytes, way - SPARSE);
  else throw new CorruptBytesError(`unknown way ${way} of registers`);
}

function checkRank(rank: number, rankMax: number): void {
  if (rank > rankMax) throw new CorruptBytesError(`HyperLogLog register of ${rank}`);
}

function absorbUnary(registers: Uint8Array, rankMax: number, bytes: Uint8Array): void {
  const n = bytes.length === 0 ? 0 : bytes[0]!;
  if (n > UNARY_RANKS_MAX || n >= bytes.length) throw new CorruptBytesError('registers end too early');
  for (let place = 0; place < n; place++) checkRank(bytes[1 + place]!, rankMax);
  // Bits are read in place, with no reader between: this is most of what a read of many blocks does.
  let at = 1 + n;
  let window = 0;
  let bits = 0;
  for (let i = 0; i < registers.length; i++) {
    for (; bits <= 24; bits += 8) {
      const byte = at < bytes.length ? bytes[at]! : 0;
      window |= byte << (24 - bits);
      at++;
    }
    const place = Math.clz32(~window);
    if (place >= n) throw new CorruptBytesError('HyperLogLog register out of range');
    const rank = bytes[1 + place]!;
    bits -= place + 1;
    window <<= place + 1;
    if (rank > registers[i]!) registers[i] = rank;
  }
  if (at - Math.floor(bits / 8) !== bytes.length) throw new CorruptBytesError('registers of another length');
}

function absorbSparse(registers: Uint8Array, rankMax: number, bytes: Uint8Array, parameter: number): void {
  let filled = 0;
  let at = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined || shift > 14) throw new CorruptBytesError('registers end too early');
    filled |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  let window = 0;
  let bits = 0;
  let next = 0;
  for (let i = 0; i < filled; i++) {
    let gap = 0;
    let rank = 1;
    // Two numbers in turn, each in unary from here on: how many 2^parameter zeros, and the rank.
    for (let inGap = true; ; ) {
      for (; bits <= 24; bits += 8) {
        const byte = at < bytes.length ? bytes[at]! : 0;
        window |= byte << (24 - bits);
        at++;
      }
      const ones = Math.clz32(~window);
      if (ones >= bits) {
        if (at > bytes.length) throw new CorruptBytesError('registers end too early');
        if (inGap) gap += bits << parameter;
        else rank += bits;
        window = 0;
        bits = 0;
        continue;
      }
      window = ones === 31 ? 0 : window << (ones + 1);
      bits -= ones + 1;
      if (!inGap) {
        rank += ones;
        break;
      }
      gap += ones << parameter;
      inGap = false;
      if (parameter === 0) continue;
      for (; bits <= 24; bits += 8) {
        const byte = at < bytes.length ? bytes[at]! : 0;
        window |= byte << (24 - bits);
        at++;
      }
      gap += window >>> (32 - parameter);
      window <<= parameter;
      bits -= parameter;
    }
    const register = next + gap;
    if (register >= registers.length) throw new CorruptBytesError(`HyperLogLog register ${register}`);
    checkRank(rank, rankMax);
    if (rank > registers[register]!) registers[register] = rank;
    next = register + 1;
  }
  if (at - Math.floor(bits / 8) !== bytes.length) throw new CorruptBytesError('registers of another length');
}

function absorbPacked(registers: Uint8Array, rankMax: number, bytes: Uint8Array): void {
  if (bytes.length !== (registers.length / 4) * 3) throw new CorruptBytesError('registers of another length');
  for (let i = 0, at = 0; i < registers.length; i += 4, at += 3) {
    const four = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    for (let j = 0; j < 4; j++) {
      const rank = (four >>> (6 * j)) & 0x3f;
      checkRank(rank, rankMax);
      if (rank > registers[i + j]!) registers[i + j] = rank;
    }
  }
}
