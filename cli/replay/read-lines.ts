/** Lines of a byte stream, split at \n alone: `readline` would also split at U+2028, which JSON text may hold. */

const NEWLINE = 0x0a;

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without its line end; null where the line is longer than the limit. */
  readonly bytes: Uint8Array | null;
}

export async function* readLines(
  stream: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
): AsyncGenerator<Line> {
  let number = 1;
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  const take = (part: Uint8Array): void => {
    heldBytes += part.length;
    if (heldBytes > maxLineBytes) held = [];
    else if (part.length > 0) held.push(part);
  };
  const finish = (): Line => {
    const line = { number: number++, bytes: heldBytes > maxLineBytes ? null : Buffer.concat(held) };
    held = [];
    heldBytes = 0;
    return line;
  };
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end));
      yield finish();
      start = end + 1;
    }
    take(chunk.subarray(start));
  }
  if (heldBytes > 0) yield finish();
}
