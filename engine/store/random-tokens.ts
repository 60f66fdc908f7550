import { randomFillSync } from 'node:crypto';

const TOKEN_BYTES = 8;

/** Random 64 bits as 16 hex digits each; the system is asked for many at once, as one per write shows in profiles. */
export function randomTokens(): () => string {
  const pool = Buffer.alloc(512 * TOKEN_BYTES);
  let at = pool.length;
  return () => {
    if (at === pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += TOKEN_BYTES;
    return pool.toString('hex', at - TOKEN_BYTES, at);
  };
}
