import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import { SeededRandom } from '../testing/random.ts';
import { createRegisters, observe, rankMaxOf } from './hyperloglog.ts';
import { absorbRegisters, encodeRegisters, registerBytesMax } from './register-coding.ts';

function encode(registers: Uint8Array): Uint8Array {
  const w = new ByteWriter();
  encodeRegisters(registers, w);
  return w.finish().slice();
}

function decode(bytes: Uint8Array, precision: number): Uint8Array {
  const registers = createRegisters(precision);
  const r = new ByteReader(bytes);
  absorbRegisters(registers, rankMaxOf(registers), r);
  expect(r.done).toBe(true);
  return registers;
}

/** Registers after `size` evenly spread hashes. */
function registersOf(precision: number, size: number, seed: number): Uint8Array {
  const random = new SeededRandom(seed);
  const registers = createRegisters(precision);
  for (let i = 0; i < size; i++) observe(registers, (random.uint32() >>> 11) * 2 ** 32 + random.uint32());
  return registers;
}

test('any registers are read back, within the bound', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 4, max: 9 }).chain((precision) => {
        const rankMax = rankMaxOf(createRegisters(precision));
        const rank = fc.oneof(fc.constant(0), fc.nat({ max: 5 }), fc.nat({ max: rankMax }));
        const length = 2 ** precision;
        return fc.record({
          precision: fc.constant(precision),
          ranks: fc.array(rank, { minLength: length, maxLength: length }),
        });
      }),
      ({ precision, ranks }) => {
        const registers = Uint8Array.from(ranks);
        const bytes = encode(registers);
        expect(bytes.length).toBeLessThanOrEqual(registerBytesMax(precision));
        expect(decode(bytes, precision)).toEqual(registers);
      },
    ),
  );
});

test.each([4, 8, 11, 14])(
  'every number of values has its way, and is read back: 2^%d registers',
  (precision) => {
    const ways = new Set<number>();
    for (let size = 0; size < 40 * 2 ** precision; size = Math.ceil((size + 1) * 1.7)) {
      const registers = registersOf(precision, size, size + precision);
      const bytes = encode(registers);
      expect(decode(bytes, precision)).toEqual(registers);
      ways.add(bytes[0]! < 16 ? 0 : 1);
      if (precision < 8) continue;
      // The entropy is 2.8 bits a register at most; and some 9 bits a value while they are few.
      const bits = 8 * (bytes.length - 4);
      expect(bits).toBeLessThan(2 ** precision * 4);
      if (size < 2 ** precision / 16) expect(bits).toBeLessThan(12 * size + 48);
    }
    expect(ways.size).toBe(2);
  },
);

test('the greatest rank in one register alone, and in all', () => {
  for (let precision = 4; precision <= 14; precision++) {
    const registers = createRegisters(precision);
    const rankMax = rankMaxOf(registers);
    for (const place of [0, 1, registers.length - 1]) {
      registers.fill(0);
      registers[place] = rankMax;
      expect(decode(encode(registers), precision)).toEqual(registers);
      registers.fill(rankMax);
      registers[place] = 0;
      expect(decode(encode(registers), precision)).toEqual(registers);
    }
  }
});

test('merging takes the greater of each', () => {
  const a = registersOf(8, 100, 1);
  const b = registersOf(8, 3_000, 2);
  const merged = a.slice();
  absorbRegisters(merged, rankMaxOf(merged), new ByteReader(encode(b)));
  expect(merged).toEqual(a.map((rank, i) => Math.max(rank, b[i]!)));
});

test('bytes that are cut off, too long or changed are refused, or are registers in range', () => {
  const random = new SeededRandom(7);
  let refused = 0;
  for (let round = 0; round < 3_000; round++) {
    const bytes = encode(registersOf(6, random.below(400), round));
    const length = bytes[1]!;
    const kind = round % 3;
    if (kind === 0) bytes[2 + random.below(length)]! ^= 1 << random.below(8);
    const changed =
      kind === 0
        ? bytes
        : kind === 1
          ? Uint8Array.from([bytes[0]!, length - 1, ...bytes.subarray(2, 1 + length)])
          : Uint8Array.from([bytes[0]!, length + 1, ...bytes.subarray(2), 0]);
    const registers = createRegisters(6);
    try {
      absorbRegisters(registers, rankMaxOf(registers), new ByteReader(changed));
      expect(kind).not.toBe(2);
      expect(Math.max(...registers)).toBeLessThanOrEqual(rankMaxOf(registers));
    } catch (error) {
      expect(error).toBeInstanceOf(CorruptBytesError);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(1_500);
});

test('an unknown way is refused', () => {
  for (const way of [1, 15, 30, 63, 65, 255]) {
    expect(() =>
      absorbRegisters(createRegisters(4), 50, new ByteReader(Uint8Array.from([way, 1, 0]))),
    ).toThrow(CorruptBytesError);
  }
});
