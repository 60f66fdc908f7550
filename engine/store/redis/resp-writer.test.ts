import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RespWriter } from './resp-writer.ts';

describe('RESP writer', () => {
  it('frames texts, numbers and bytes, whatever is in them', () => {
    const writer = new RespWriter();
    const values = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 100 }),
      fc.string({ unit: 'grapheme-ascii', maxLength: 200 }),
      fc.maxSafeNat(),
      fc.tuple(fc.uint8Array(), fc.uint8Array()),
    );
    fc.assert(
      fc.property(fc.array(values, { maxLength: 20 }), (written) => {
        const expected: Buffer[] = [];
        for (const value of written) {
          let bytes: Buffer;
          if (typeof value === 'string') {
            writer.text(value);
            bytes = Buffer.from(value);
          } else if (typeof value === 'number') {
            writer.integer(value);
            bytes = Buffer.from(String(value));
          } else {
            writer.raw(...value);
            bytes = Buffer.concat(value);
          }
          expected.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
        }
        const { count, bytes } = writer.finish();
        expect(count).toBe(written.length);
        expect(Buffer.compare(bytes, Buffer.concat(expected))).toBe(0);
      }),
      { numRuns: 2000, seed: 1 },
    );
  });

  it('takes values larger than its buffer, and starts anew afterwards', () => {
    const writer = new RespWriter();
    const large = Buffer.alloc(3_000_000, 7);
    writer.raw(large);
    expect(writer.finish().bytes.length).toBe('$3000000\r\n'.length + large.length + 2);
    writer.ascii('a');
    expect(writer.finish().bytes.toString()).toBe('$1\r\na\r\n');
  });

  it('forgets what was cleared', () => {
    const writer = new RespWriter();
    writer.text('refused');
    writer.clear();
    writer.text('');
    const { count, bytes } = writer.finish();
    expect([count, bytes.toString()]).toEqual([1, '$0\r\n\r\n']);
  });
});
