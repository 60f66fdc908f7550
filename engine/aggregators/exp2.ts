/**
 * 2^f for 0 ≤ f < 1, within 2⁻⁵² of it, relative. Only additions and multiplications in a fixed order, so the bits are
 * the same on every machine and in every version of the runtime, which ECMA-262 promises neither for `Math.pow` nor
 * for `Math.exp` ("implementation-approximated").
 *
 * 1. f ≥ ½ is 2·2^(f − 1), so the exponent lies in [−½, ½).
 * 2. z = f·ln 2, |z| ≤ 0.347, and the Taylor series of eᶻ up to z¹³ by Horner's rule: what follows is below 4e−18.
 */
export function exp2(f: number): number {
  const high = f >= 0.5;
  const z = (high ? f - 1 : f) * Math.LN2;
  let power = 1 / 6227020800;
  power = power * z + 1 / 479001600;
  power = power * z + 1 / 39916800;
  power = power * z + 1 / 3628800;
  power = power * z + 1 / 362880;
  power = power * z + 1 / 40320;
  power = power * z + 1 / 5040;
  power = power * z + 1 / 720;
  power = power * z + 1 / 120;
  power = power * z + 1 / 24;
  power = power * z + 1 / 6;
  power = power * z + 1 / 2;
  power = power * z + 1;
  power = power * z + 1;
  return high ? 2 * power : power;
}
