/**
 * HyperLogLog with 2^p registers over 53-bit hashes, 4 ≤ p ≤ 14: how many different values a set too large to keep
 * has (P. Flajolet et al., "HyperLogLog", 2007). Registers are a function of the set alone (each is a maximum), so
 * any merge order gives the same bytes. The standard error is 1.04 / √2^p: 1.6 % for p = 12. The precision is in the
 * length of the array of registers.
 *
 * The estimator is Ertl's improved raw estimator (O. Ertl, "New cardinality estimation algorithms for
 * HyperLogLog sketches", 2017, arXiv:1702.01284, algorithm 6): unbiased over the whole range, without the bias
 * tables and the switch to linear counting of HyperLogLog++.
 *
 * Why our own: of the npm packages read, `hyperloglog` 0.1.2 and `hll` 1.1.1 allocate with the deprecated
 * `new Buffer`, and `hll` cannot merge; `bloom-filters` 3.0.4 hashes the values itself and brings lodash and
 * reflect-metadata. All three use the classic estimator with its bias near 2.5 · registers, and none defines
 * bytes to store (ours: `register-coding.ts`); what we store has to stay readable for years.
 */

const HASH_BITS = 53;
const TWO_53 = 2 ** 53;
const TWO_32 = 2 ** 32;

/** 1 / (2 ln 2) */
const ALPHA = 0.5 / Math.LN2;

export function createRegisters(precision: number): Uint8Array {
  return new Uint8Array(2 ** precision);
}

/** The bits of a hash behind those that choose its register. */
function rankBitsOf(registers: Uint8Array): number {
  return HASH_BITS - (31 - Math.clz32(registers.length));
}

/** @param hash an integer, 0 ≤ hash < 2⁵³, evenly spread */
export function observe(registers: Uint8Array, hash: number): void {
  const span = TWO_53 / registers.length;
  const register = Math.floor(hash / span);
  const rest = hash - register * span;
  const high = Math.floor(rest / TWO_32);
  // Place of the first 1 among the bits of `rest`: 32 are in the low half; of the high one, the leading are not ours.
  const highBits = rankBitsOf(registers) - 32;
  const rank = high > 0 ? Math.clz32(high) - 31 + highBits : Math.clz32(rest) + highBits + 1;
  if (rank > registers[register]!) registers[register] = rank;
}

/** The greatest value of a register. */
export function rankMaxOf(registers: Uint8Array): number {
  return rankBitsOf(registers) + 1;
}

/** σ(x) = x + Σ x^(2^k) · 2^(k−1): corrects for registers never hit. */
function sigma(share: number): number {
  if (share === 1) return Number.POSITIVE_INFINITY;
  let x = share;
  let y = 1;
  let z = x;
  for (let previous = Number.NaN; z !== previous; y += y) {
    x *= x;
    previous = z;
    z += x * y;
  }
  return z;
}

/** τ(x) = (1 − x − Σ (1 − x^(2^−k))² · 2^−k) / 3: corrects for registers at their limit. */
function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let x = share;
  let y = 1;
  let z = 1 - x;
  for (let previous = Number.NaN; z !== previous; ) {
    x = Math.sqrt(x);
    previous = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}

/** How many different hashes were observed, not rounded; 0 for none. */
export function estimate(registers: Uint8Array): number {
  const m = registers.length;
  const rankBits = rankBitsOf(registers);
  const histogram = new Float64Array(rankBits + 2);
  for (let i = 0; i < m; i++) histogram[registers[i]!]!++;
  let z = m * tau(1 - histogram[rankBits + 1]! / m);
  for (let rank = rankBits; rank >= 1; rank--) z = 0.5 * (z + histogram[rank]!);
  z += m * sigma(histogram[0]! / m);
  return (ALPHA * m * m) / z;
}
