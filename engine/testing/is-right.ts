/** Whether the engine's answer is the oracle's, within the published error of the operations that have one. */
import { isDeepStrictEqual } from 'node:util';
import type { FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CompiledFeature } from '../definitions/compiled.ts';
import { type OracleAnswer, valueOfAnswer } from './oracle.ts';
import { type OracleRow, toleranceOf } from './oracle-aggregate.ts';

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
      const groups = got instanceof Map ? [...got] : Object.entries(got as object);
      return (
        groups.length === expected.groups.size &&
        [...expected.groups].every(
          ([key, group], i) =>
            groups[i]![0] === key && isRight({ ...args, expected: group, got: groups[i]![1] }),
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
  if (typeof expected !== 'number' || typeof got !== 'number') return false;
  const error = Math.abs(got - expected);
  const { operation, params } = feature;
  if (/^(var|stddev)_|^skew$|^kurtosis$/.test(operation.name)) {
    return error <= SPREAD_TOLERANCE * Math.abs(expected);
  }
  // Beyond its declared bound a distinct count is an estimate, never below what is certain.
  if (operation.name === 'distinct_count' && expected > params[0]!) {
    return got > params[0]! && error <= 2 + 0.1 * expected;
  }
  return error <= toleranceOf(feature, rows, atMs) && toleranceOf(feature, rows, atMs) > 0;
}

/** For messages. */
export const showAnswer = (answer: OracleAnswer): string => show(valueOfAnswer(answer));

export const show = (value: unknown): string =>
  JSON.stringify(value, (_, inner) => {
    if (inner instanceof Map) return Object.fromEntries(inner);
    return typeof inner === 'bigint' ? `${inner}n` : inner;
  });
