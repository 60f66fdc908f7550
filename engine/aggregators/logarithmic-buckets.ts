/**
 * Buckets of bounded relative width over all doubles (C. Masson, J. E. Rim, H. K. Lee, "DDSketch: A Fast and
 * Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019): a value that answers for its bucket is
 * off by at most a share α of itself.
 *
 * The ends of a bucket have a ratio of at most γ = (1 + α) / (1 − α). Two neighbours joined have γ², and the accuracy
 * 2α / (1 + α²); joined `level` times, tanh(2^level · artanh α). That is the uniform collapse of UDDSketch (I. Epicoco,
 * C. Melle, M. Cafaro, M. Pulimeno, G. Morleo, "UDDSketch: Accurate Tracking of Quantiles in Data Streams", 2020).
 *
 * In place of the logarithm stands a piecewise cubic, as in the CubicallyInterpolatedMapping of Datadog's own
 * implementations: with e and s of x = 2^e · (1 + s), 0 ≤ s < 1,
 *
 *   ℓ(x) = e + ((6/35 · s − 3/5) · s + 10/7) · s
 *
 * rises by at least 10/7 per unit of ln x (at s = 0 and s = 2/3), so that steps of 10/7 · ln γ are narrow enough; it
 * takes 1 % more buckets than a logarithm. Only + − × ÷ are used, which IEEE 754 defines to the last bit: which bucket
 * a value falls in is stored, and must not depend on the machine or on the version of its mathematical library.
 *
 * Positions put all buckets on one axis in the order of values: 0 is the bucket of zero, positive values have
 * 1 … 2²¹, negative ones their mirror image.
 */

const A = 6 / 35;
const B = -3 / 5;
const C = 10 / 7;

/** Added to ⌈ℓ(x) / step⌉, which is within ±2¹⁹ (accuracies from 0.001), to make it positive at every level. */
const OFFSET = 2 ** 20;
const POSITION_MAX = 2 * OFFSET;

/** The offset is a multiple of 2^level, so that joining positions joins the buckets of UDDSketch. */
export const LEVEL_MAX = 20;

/** A double below it has fewer bits than the rest; values that small count as zero. */
const MAGNITUDE_MIN = 2 ** -1022;

const bits = new DataView(new ArrayBuffer(8));

function interpolatedLog(x: number): number {
  bits.setFloat64(0, x);
  const high = bits.getUint32(0);
  const exponent = (high >>> 20) - 1023;
  bits.setUint32(0, (high & 0xfffff) | 0x3ff00000);
  const s = bits.getFloat64(0) - 1;
  return exponent + ((A * s + B) * s + C) * s;
}

/** The x with ℓ(x) = value, by Newton's method: the slope is between 0.7 and 1.5, so a few steps are enough. */
function interpolatedExp(value: number): number {
  const exponent = Math.floor(value);
  const target = value - exponent;
  let s = target;
  for (let step = 0; step < 6; step++) {
    s -= (((A * s + B) * s + C) * s - target) / ((3 * A * s + 2 * B) * s + C);
  }
  // In two steps, or 2^exponent would be 0 where the product is not.
  return (1 + s) * 2 ** Math.ceil(exponent / 2) * 2 ** Math.floor(exponent / 2);
}

/** ln γ = 2 · artanh α as a series, for 0 < α ≤ 0.1: terms beyond α²⁵ change no bit. */
function logOfGamma(accuracy: number): number {
  let sum = 0;
  for (let power = 25; power >= 1; power -= 2) sum = sum * accuracy * accuracy + 1 / power;
  return 2 * accuracy * sum;
}

/** Joins a position with its neighbour, `levels` times. */
export function joinPosition(position: number, levels: number): number {
  const last = (1 << levels) - 1;
  return position < 0 ? -((last - position) >> levels) : (position + last) >> levels;
}

/** The highest position at a level; the lowest is its negative. */
export function positionMaxAt(level: number): number {
  return POSITION_MAX / 2 ** level;
}

/** The accuracy after `level` collapses. */
export function accuracyAt(accuracy: number, level: number): number {
  return Math.tanh(2 ** level * Math.atanh(accuracy));
}

export class LogarithmicBuckets {
  readonly #perStep: number;

  /** @param accuracy α, 0.001 ≤ α ≤ 0.1 */
  constructor(accuracy: number) {
    this.#perStep = 1 / (C * logOfGamma(accuracy));
  }

  /** Position of a value's bucket at level 0. */
  positionOf(value: number): number {
    const magnitude = Math.abs(value);
    if (magnitude < MAGNITUDE_MIN) return 0;
    const position = Math.ceil(interpolatedLog(magnitude) * this.#perStep) + OFFSET;
    return value < 0 ? -position : position;
  }

  /** The value with the least relative error for all of a bucket: the harmonic mean of its ends. */
  valueAt(position: number, level: number): number {
    if (position === 0) return 0;
    const span = 2 ** level;
    const end = Math.abs(position) * span - OFFSET;
    const low = interpolatedExp((end - span) / this.#perStep);
    const high = interpolatedExp(end / this.#perStep);
    const middle = (2 * low) / (1 + low / high);
    return position < 0 ? -middle : middle;
  }
}
