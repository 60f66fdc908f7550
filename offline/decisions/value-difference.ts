/**
 * Whether a value of a decision log is the one that was computed again: by the feature's type, doubles within a tolerance and all
 * else exactly. Pure.
 */
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';
import { LONG_MAX, LONG_MIN } from '../../engine/definitions/column-value.ts';
import { toWellFormed } from '../../engine/definitions/well-formed.ts';

/** How far two values are from each other; null: by no number, as one is a text, a list of another length, or missing. */
export interface ValueDifference {
  readonly absolute: number | null;
  /** Of the larger of the two, at most 2. */
  readonly relative: number | null;
}

/** A sum of integers of more than 64 bits, perhaps in a map: it is logged, and null in a training set. */
export const BEYOND_64_BITS = 'beyond_64_bits';

type Difference = ValueDifference | typeof BEYOND_64_BITS | null;

const NO_NUMBER: ValueDifference = { absolute: null, relative: null };

/**
 * @param type as the catalogue shows it
 * @param column type of the values of pairs
 * @param logged as `JSON.parse` gives it
 * @param tolerance relative, of doubles
 * @returns null: they are the same; `BEYOND_64_BITS`: as far as they can be compared
 */
export function valueDifference(
  { type, column }: { readonly type: string; readonly column: string },
  logged: unknown,
  computed: FeatureValue,
  tolerance: number,
): Difference {
  if (computed === null && isBeyond64Bits(type, logged)) return BEYOND_64_BITS;
  if (logged === null || computed === null) return logged === computed ? null : NO_NUMBER;
  const ofPart = (partType: string, part: unknown, other: FeatureValue) =>
    valueDifference({ type: partType, column }, part, other, tolerance);
  if (type.endsWith('[]')) {
    if (!Array.isArray(logged) || !Array.isArray(computed) || logged.length !== computed.length)
      return NO_NUMBER;
    return worst(logged.map((part, i) => ofPart(type.slice(0, -2), part, computed[i] as FeatureValue)));
  }
  if (type.startsWith('map<')) {
    if (typeof logged !== 'object' || !(computed instanceof Map)) return NO_NUMBER;
    const entries = Object.entries(logged);
    const map = new Map(
      [...(computed as ReadonlyMap<string, FeatureValue>)].map(([key, value]) => [toWellFormed(key), value]),
    );
    if (entries.length !== map.size || entries.some(([key]) => !map.has(key))) return NO_NUMBER;
    return worst(entries.map(([key, part]) => ofPart(type.slice(4, -1), part, map.get(key)!)));
  }
  switch (type) {
    case 'pair': {
      if (!Array.isArray(logged) || !Array.isArray(computed)) return NO_NUMBER;
      const [value, count] = computed as readonly unknown[] as readonly [FeatureValue, FeatureValue];
      return worst([ofPart(column, logged[0], value), ofPart('integer', logged[1], count)]);
    }
    case 'double':
      return typeof logged === 'number' ? ofNumbers(logged, Number(computed), tolerance) : NO_NUMBER;
    case 'integer':
    case 'long':
    case 'timestamp':
      return ofIntegers(logged, computed as number | bigint);
    case 'string':
      return logged === toWellFormed(computed as string) ? null : NO_NUMBER;
    default:
      return logged === computed ? null : NO_NUMBER;
  }
}

function isBeyond64Bits(type: string, logged: unknown): boolean {
  if ((type !== 'integer' && type !== 'long') || typeof logged !== 'string') return false;
  const integer = integerOf(logged);
  return integer !== null && (integer < LONG_MIN || integer > LONG_MAX);
}

function ofNumbers(a: number, b: number, tolerance: number): ValueDifference | null {
  const absolute = Math.abs(a - b);
  if (absolute === 0) return null;
  const relative = absolute / Math.max(Math.abs(a), Math.abs(b));
  return relative <= tolerance ? null : { absolute, relative };
}

function ofIntegers(logged: unknown, computed: number | bigint): ValueDifference | null {
  const integer = integerOf(logged);
  const other = integerOf(computed);
  if (integer === null || other === null) return NO_NUMBER;
  if (integer === other) return null;
  const magnitude = (x: bigint): number => Math.abs(Number(x));
  const absolute = magnitude(integer - other);
  return { absolute, relative: absolute / Math.max(magnitude(integer), magnitude(other)) };
}

/** Of a number, or of the decimal text that stands for one beyond ±(2⁵³ − 1). */
function integerOf(value: unknown): bigint | null {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : null;
  return typeof value === 'string' && /^-?\d{1,400}$/.test(value) ? BigInt(value) : null;
}

/** Of the parts of a value: what differs by no number is the worst. */
function worst(parts: readonly Difference[]): Difference {
  const differences = parts.filter((part) => part !== null && part !== BEYOND_64_BITS);
  if (differences.length === 0) return parts.includes(BEYOND_64_BITS) ? BEYOND_64_BITS : null;
  return differences.reduce((a, b) =>
    (b.relative ?? Number.POSITIVE_INFINITY) > (a.relative ?? Number.POSITIVE_INFINITY) ? b : a,
  );
}
