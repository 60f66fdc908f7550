/**
 * XXH64 with seed 0 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) of UTF-8 text: the one fixed hash
 * behind event ids, distinct counts and namespaces. Stored values depend on it; it must never change.
 */
import xxhash from 'xxhash-wasm';

const { h64 } = await xxhash();

/** 0 ≤ hash < 2⁶⁴. */
export function hash64(text: string): bigint {
  return h64(text);
}

/** The top 53 bits: exact as a double, for telling values apart. n values collide with p ≈ n² / 2⁵⁴. */
export function hash53(text: string): number {
  return Number(h64(text) >> 11n);
}
