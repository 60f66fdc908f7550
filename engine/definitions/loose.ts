/** Definitions before they are checked. */

/** Any object, its fields not yet believed. */
export type Loose = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const kindOf = (value: unknown): unknown => (isObject(value) ? value.kind : undefined);
