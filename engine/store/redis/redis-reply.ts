/** Replies of Redis are `unknown` until one of these has looked at them. */

/** A reply of another shape than the command has: a proxy or a server that is no Redis. Never retryable. */
export class UnexpectedReplyError extends Error {
  override readonly name = 'UnexpectedReplyError';
}

export function arrayOf(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new UnexpectedReplyError('expected an array from Redis');
  return reply;
}

export function bytesOf(reply: unknown): Uint8Array {
  if (!(reply instanceof Uint8Array)) throw new UnexpectedReplyError('expected a string from Redis');
  return reply;
}

/** Values of a hash: null where the field is absent. */
export function valuesOf(reply: unknown): readonly (Uint8Array | null)[] {
  const values = arrayOf(reply);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value !== null && !(value instanceof Uint8Array)) {
      throw new UnexpectedReplyError('expected strings from Redis');
    }
  }
  return values as readonly (Uint8Array | null)[];
}

export function textOf(reply: unknown): string {
  const bytes = bytesOf(reply);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

export function textsOf(reply: unknown): string[] {
  return arrayOf(reply).map(textOf);
}

/** A string of `1` and `0`, as the scripts answer which writes were made. */
export function flagsOf(reply: unknown, count: number): boolean[] {
  const bytes = bytesOf(reply);
  if (bytes.length !== count) throw new UnexpectedReplyError(`expected ${count} flags from Redis`);
  return Array.from(bytes, (byte) => byte === 0x31);
}

export function integerOf(reply: unknown): number {
  if (typeof reply !== 'number') throw new UnexpectedReplyError('expected an integer from Redis');
  return reply;
}
