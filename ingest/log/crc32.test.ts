import { expect, test } from 'vitest';
import { crc32 } from './crc32.ts';

test('gives the values that zlib gives', () => {
  // The check value of the catalogue of CRCs; the others are of `python3 -c 'import zlib; …'`.
  expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
  expect(crc32(Buffer.alloc(0))).toBe(0);
  expect(crc32(Buffer.from([0, 255, 0, 128]))).toBe(0x726468d1);
});
