/** What may be an entity key. Keys compare as text: the number 1 and the text '1' are one key. */
import { isWellFormed } from './well-formed.ts';

export const ENTITY_KEY_MAX_BYTES = 1024;

export type EntityKeyProblem = 'key_too_long' | 'invalid_text';

/** The reason why a text cannot be an entity key, or null. The empty text is a legal key. */
export function checkEntityKey(key: string): EntityKeyProblem | null {
  // One UTF-16 unit is at most three bytes of UTF-8: short keys need no count.
  if (key.length > ENTITY_KEY_MAX_BYTES) return 'key_too_long';
  if (!isWellFormed(key)) return 'invalid_text';
  if (key.length * 3 > ENTITY_KEY_MAX_BYTES && Buffer.byteLength(key, 'utf8') > ENTITY_KEY_MAX_BYTES) {
    return 'key_too_long';
  }
  return null;
}

/** An event's column or a request's entity value as key text: `1` and `'1'` are one key, a null is none. */
export function entityKeyText(value: string | number | bigint | null): string | null {
  return value === null ? null : typeof value === 'string' ? value : String(value);
}
