import { describe, expect, it } from 'vitest';
import { readLines } from './read-lines.ts';

async function linesOf(text: string, chunkBytes: number, maxLineBytes = 1000): Promise<(string | null)[]> {
  const bytes = Buffer.from(text);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < bytes.length; i += chunkBytes) yield bytes.subarray(i, i + chunkBytes);
  }
  const lines: (string | null)[] = [];
  for await (const { number, bytes: line } of readLines(chunks(), maxLineBytes)) {
    expect(number).toBe(lines.length + 1);
    lines.push(line === null ? null : Buffer.from(line).toString());
  }
  return lines;
}

describe('lines of a byte stream', () => {
  it.each([1, 2, 3, 1000])('are the same in chunks of %i bytes', async (chunkBytes) => {
    expect(await linesOf('a\n\nbc \u2028 é\nlast', chunkBytes)).toEqual(['a', '', 'bc \u2028 é', 'last']);
    expect(await linesOf('a\n', chunkBytes)).toEqual(['a']);
    expect(await linesOf('', chunkBytes)).toEqual([]);
  });

  it('name a line that is too long without keeping it', async () => {
    expect(await linesOf('abcd\nabcde\nabc', 2, 4)).toEqual(['abcd', null, 'abc']);
    expect(await linesOf('abcde', 2, 4)).toEqual([null]);
  });
});
