/** Whether the engine's answer is the oracle's, within the published error of the operations that have one. */
import { isDeepStrictEqual } from 'node:util';
import type { FeatureValue } from '../aggregators/partial-aggregate.ts';
import { exactUpToOf } from '../aggregators/partials/distinct.ts';
import { EXACT_VALUES_MAX } from '../aggregators/partials/quantiles.ts';
import type { CompiledFeature } from '../definitions/compiled.ts';
import { type OracleAnswer, valueOfAnswer } from './oracle.ts';
import { mostFrequent, type OracleRow, toleranceOf } from './oracle-aggregate.ts';

/** Variances and higher moments are exact but for a few roundings and, below 1e−146, underflow. */
const SPREAD_TOLERANCE = 1e-12;

export interface RightArgs {
  readonly feature: CompiledFeature;
  readonly expected: OracleAnswer;
  readonly got: unknown;
  readonly atMs: number;
  /** How values are written where `got` was read from JSON. @default as they are */
  readonly written?: (value: FeatureValue) => unknown;
}

export function isRight(args: RightArgs): boolean {
  const { expected, got } = args;
  switch (expected.kind) {
    case 'value':
      return isValueRight(args, expected.value, expected.rows);
    case 'series':
      return (
        Array.isArray(got) &&
        got.length === expected.elements.length &&
        expected.elements.every((element, i) => isRight({ ...args, expected: element, got: got[i] }))
      );
    case 'groups': {
      const ordered = got instanceof Map;
      const groups = ordered ? got : new Map(Object.entries(got as object));
      // An object read from JSON has keys that look like array indices first, whatever their order in the text.
      const keys = ordered ? [...groups.keys()] : [...expected.groups.keys()];
      return (
        groups.size === expected.groups.size &&
        [...expected.groups].every(
          ([key, group], i) =>
            keys[i] === key && groups.has(key) && isRight({ ...args, expected: group, got: groups.get(key) }),
        )
      );
    }
  }
}

function isValueRight(
  { feature, got, atMs, written = (value) => value }: RightArgs,
  expected: FeatureValue,
  rows: readonly OracleRow[],
): boolean {
  if (isDeepStrictEqual(written(expected), got)) return true;
  const { operation, params } = feature;
  if (operation.name === 'percentiles') {
    const [accuracy, ...percents] = params as [number, ...number[]];
    return (
      Array.isArray(got) &&
      got.length === percents.length &&
      percents.every(
        (percent, i) =>
          Object.is((expected as readonly number[])[i], got[i]) ||
          isNearQuantile(percent, accuracy, (expected as readonly number[])[i]!, got[i], rows),
      )
    );
  }
  if (operation.name === 'top_k_frequent') return isNearlyMostFrequent(params, got, rows, written);
  if (typeof expected !== 'number' || typeof got !== 'number') return false;
  const error = Math.abs(got - expected);
  if (/^(var|stddev)_|^skew$|^kurtosis$/.test(operation.name)) {
    return error <= SPREAD_TOLERANCE * Math.abs(expected);
  }
  // Beyond its declared bound a distinct count is an estimate, never below what is certain.
  if (operation.name === 'distinct_count' && expected > params[0]!) {
    return got > params[0]! && error <= 2 + 0.1 * expected;
  }
  if (operation.name === 'approx_distinct_count' && expected > exactUpToOf(params[0]!)) {
    const standardError = 1.04 / Math.sqrt(2 ** params[0]!);
    return got > exactUpToOf(params[0]!) && error <= 2 + 7 * standardError * expected;
  }
  if (operation.name === 'entropy') return error <= 1e-12;
  if (operation.name === 'percentile') return isNearQuantile(params[0]!, params[1]!, expected, got, rows);
  if (operation.name === 'median') return isNearQuantile(50, params[0]!, expected, got, rows);
  return error <= toleranceOf(feature, rows, atMs) && toleranceOf(feature, rows, atMs) > 0;
}

/** Within the accuracy of the greater neighbour, where there are too many values to keep. */
function isNearQuantile(
  percent: number,
  accuracy: number,
  expected: number,
  got: unknown,
  rows: readonly OracleRow[],
): boolean {
  if (rows.length <= EXACT_VALUES_MAX || typeof got !== 'number') return false;
  const sorted = rows.map(({ value }) => Number(value)).sort((a, b) => a - b);
  const place = (percent / 100) * (sorted.length - 1);
  const neighbours = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!].map(Math.abs);
  return Math.abs(got - expected) <= accuracy * (1 + 1e-9) * Math.max(...neighbours);
}

/** Where there are more values than are counted: no count too high, none lower than the bound, none missing above it. */
function isNearlyMostFrequent(
  [k, capacity]: readonly number[],
  got: unknown,
  rows: readonly OracleRow[],
  written: (value: FeatureValue) => unknown,
): boolean {
  const counted = Math.max(k!, capacity!);
  const right = new Map(mostFrequent(rows.map(({ value }) => value)).map(([v, n]) => [written(v), n]));
  if (right.size <= counted || !Array.isArray(got)) return false;
  const bound = rows.length / (counted + 1);
  const pairs = new Map(got as readonly (readonly [unknown, number])[]);
  return (
    [...pairs].every(([value, count]) => {
      const exact = right.get(value) ?? -1;
      return count <= exact && count >= exact - bound;
    }) &&
    (pairs.size === k || [...right].every(([value, count]) => count <= bound || pairs.has(value)))
  );
}

/** For messages. */
export const showAnswer = (answer: OracleAnswer): string => show(valueOfAnswer(answer));

export const show = (value: unknown): string =>
  JSON.stringify(value, (_, inner) => {
    if (inner instanceof Map) return Object.fromEntries(inner);
    return typeof inner === 'bigint' ? `${inner}n` : inner;
  });
