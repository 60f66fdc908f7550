/** Reading JSON bodies without trusting them: own fields only, unknown ones refused by name. */
import { ApiError, quoteName } from './error-catalogue.ts';

/** Own fields of a JSON object, as a map: names that plain objects inherit are names like any other. */
export function fieldsOf(
  value: unknown,
  known: readonly string[],
  what: string,
): ReadonlyMap<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ApiError('invalid_body', `${what} must be a JSON object`, { expected: known });
  }
  const fields = new Map(Object.entries(value));
  for (const name of fields.keys()) {
    if (!known.includes(name)) {
      throw new ApiError('unknown_field', `${what} has an unknown field ${quoteName(name)}`, {
        expected: known,
      });
    }
  }
  return fields;
}

/** An object with any names; left out or null: an empty one. */
export function readObject(value: unknown, field: string): ReadonlyMap<string, unknown> {
  if (value === undefined || value === null) return new Map();
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ApiError('invalid_body', `'${field}' must be a JSON object`, { field });
  }
  return new Map(Object.entries(value));
}

export function readBoolean(value: unknown, field: string, whenMissing: boolean): boolean {
  if (value === undefined || value === null) return whenMissing;
  if (typeof value !== 'boolean')
    throw new ApiError('invalid_body', `'${field}' must be true or false`, { field });
  return value;
}

export function readArray(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ApiError('invalid_body', `'${field}' must be a JSON array`, { field });
  return value;
}
