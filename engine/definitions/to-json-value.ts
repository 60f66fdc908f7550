import type { EventRow } from './types.ts';

/**
 * A row as a value for `JSON.stringify` that decodes to an equal row again: 64-bit integers beyond 2⁵³ become
 * decimal strings, timestamps stay milliseconds. The row itself where nothing has to change.
 */
export function toJsonValue(row: EventRow): Readonly<Record<string, string | number | boolean | null>> {
  let changed: Record<string, unknown> | null = null;
  for (const name in row) {
    const value = row[name];
    if (typeof value !== 'bigint') continue;
    changed ??= { ...row };
    changed[name] = value.toString();
  }
  return (changed ?? row) as Readonly<Record<string, string | number | boolean | null>>;
}
