/** Exact arithmetic on doubles in the plainest way: a double is an integer multiple of 2⁻¹⁰⁷⁴. For tests. */

const bits = new DataView(new ArrayBuffer(8));

/** value · 2¹⁰⁷⁴ */
export function toUnits(value: number | bigint): bigint {
  if (typeof value === 'bigint') return value << 1074n;
  bits.setFloat64(0, value);
  const high = bits.getUint32(0);
  const exponent = (high >>> 20) & 0x7ff;
  const fraction = (BigInt(high & 0xfffff) << 32n) | BigInt(bits.getUint32(4));
  const magnitude = exponent === 0 ? fraction : (fraction | (1n << 52n)) << BigInt(exponent - 1);
  return high >>> 31 === 1 ? -magnitude : magnitude;
}

/** The double nearest to units · 2⁻¹⁰⁷⁴, ties to even: the two neighbours are found and compared. */
export function fromUnits(units: bigint): number {
  const magnitude = units < 0n ? -units : units;
  const length = magnitude.toString(2).length;
  const shift = BigInt(Math.max(length - 53, 0));
  let quotient = magnitude >> shift;
  const rest = magnitude - (quotient << shift);
  const half = shift === 0n ? 0n : 1n << (shift - 1n);
  if (shift > 0n && (rest > half || (rest === half && quotient % 2n === 1n))) quotient += 1n;
  // quotient ≤ 2⁵³, so each step below is a doubling or a halving without rounding.
  let value = Number(quotient);
  let exponent = Number(shift) - 1074;
  for (; exponent > 0; exponent--) value *= 2;
  for (; exponent < 0 && value >= 2 ** 54; exponent++) value /= 2;
  if (exponent < 0) value = scaleDown(value, -exponent);
  return units < 0n ? -value : value;
}

/** value / 2^halvings where the result is known to be a double: big steps first keep every step exact. */
function scaleDown(value: number, halvings: number): number {
  let scaled = value;
  let left = halvings;
  for (; left >= 512; left -= 512) scaled /= 2 ** 512;
  return scaled / 2 ** left;
}

export function exactSumOf(values: readonly (number | bigint)[]): bigint {
  return values.reduce<bigint>((sum, value) => sum + toUnits(value), 0n);
}

/** Numerator of the variance, n·Σx² − (Σx)², in units of 2⁻²¹⁴⁸. */
export function exactSpreadOf(values: readonly (number | bigint)[]): bigint {
  const squares = values.reduce<bigint>((sum, value) => sum + toUnits(value) ** 2n, 0n);
  return BigInt(values.length) * squares - exactSumOf(values) ** 2n;
}

/** True if |value − numerator · 2⁻²¹⁴⁸ / denominator| ≤ tolerance · the latter. */
export function isNear(value: number, numerator: bigint, denominator: bigint, tolerance: number): boolean {
  const difference = (toUnits(value) << 1074n) * denominator - numerator;
  return toUnits(tolerance) * numerator >= (difference < 0n ? -difference : difference) << 1074n;
}
