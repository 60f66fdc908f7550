import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';

export type JsonValue = string | number | boolean | null | readonly JsonValue[];

/** A value that must not be served: a number that is not finite, or something that is no feature value. */
export class UnservableValueError extends Error {
  override readonly name = 'UnservableValueError';
}

/** A feature value as JSON: integers beyond ±(2⁵³ − 1) become decimal text, everything else stays as it is. */
export function toJson(value: FeatureValue): JsonValue {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) throw new UnservableValueError('the value is not finite');
      return value;
    case 'bigint': {
      const asNumber = Number(value);
      return Number.isSafeInteger(asNumber) ? asNumber : value.toString();
    }
    case 'string':
    case 'boolean':
      return value;
    default:
      if (value === null) return null;
      if (Array.isArray(value)) return value.map(toJson);
      throw new UnservableValueError('the value is no feature value');
  }
}
