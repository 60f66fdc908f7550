import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** A value that must not be served: a number that is not finite, or something that is no feature value. */
export class UnservableValueError extends Error {
  override readonly name = 'UnservableValueError';
}

/** A feature value as JSON: integers beyond ±(2⁵³ − 1) become decimal text, maps objects. */
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
      if (value instanceof Map) return mapToJson(value);
      throw new UnservableValueError('the value is no feature value');
  }
}

/** A feature value for encodings that have 64-bit integers and maps: itself. @throws UnservableValueError */
export function toServable(value: FeatureValue): FeatureValue {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) throw new UnservableValueError('the value is not finite');
      return value;
    case 'bigint':
    case 'string':
    case 'boolean':
      return value;
    default:
      if (value === null) return null;
      if (!Array.isArray(value) && !(value instanceof Map))
        throw new UnservableValueError('the value is no feature value');
      for (const part of value.values()) toServable(part);
      return value;
  }
}

/**
 * The text of `JSON.stringify(toJson(value))`, without the values in between where it is a plain one.
 * @throws UnservableValueError
 */
export function jsonText(value: FeatureValue): string {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) throw new UnservableValueError('the value is not finite');
      return `${value}`;
    case 'boolean':
      return value ? 'true' : 'false';
    default:
      return value === null ? 'null' : JSON.stringify(toJson(value));
  }
}

function mapToJson(map: ReadonlyMap<string, FeatureValue>): JsonValue {
  // Without a prototype a key such as `__proto__` is a key like any other.
  const json: Record<string, JsonValue> = Object.create(null);
  for (const [key, value] of map) json[key] = toJson(value);
  return json;
}
