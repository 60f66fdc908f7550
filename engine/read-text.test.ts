import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { hash53 } from './hash64.ts';
import { readText } from './read-text.ts';

const encoder = new TextEncoder();

function read(text: string, before = 3): ReturnType<typeof readText> {
  const own = encoder.encode(text);
  const bytes = new Uint8Array(before + own.length + 2).fill(0x61);
  bytes.set(own, before);
  return readText(bytes, before, before + own.length);
}

const isSame = (text: string): void => {
  expect(read(text).text).toBe(text);
  expect(read(text).hash).toBe(hash53(text));
};

test('a text is the same the first time and when it is remembered', () => {
  for (const text of [
    '',
    'a',
    '\u0000',
    '\u007f',
    '\u0080',
    'é',
    '\ufeffbom',
    '読む',
    '😀',
    'x'.repeat(1000),
  ]) {
    isSame(text);
    isSame(text);
  }
});

test('texts of every length around the longest that is remembered', () => {
  for (let length = 0; length < 70; length++) {
    for (const letter of ['a', 'b', 'a']) isSame(letter.repeat(length));
    isSame(`${'a'.repeat(length)}é`);
  }
});

test('more texts than there are places, each asked for again', () => {
  const texts = Array.from({ length: 20_000 }, (_, i) => `m${i}`);
  for (const text of [...texts, ...texts]) expect(read(text, 0).text).toBe(text);
  for (const text of texts.slice(0, 2_000)) isSame(text);
});

test('any texts, among them prefixes of each other', () => {
  const unit = fc.constantFrom('a', 'b', '\u0000', 'é', '😀');
  const text = fc.oneof(fc.string({ unit, maxLength: 6 }), fc.string({ unit: 'binary', maxLength: 40 }));
  fc.assert(fc.property(fc.array(text), (texts) => texts.forEach(isSame)));
});

test('what is not UTF-8 is refused, and remembered as nothing', () => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], new Array(40).fill(0xff)]) {
    for (let i = 0; i < 2; i++)
      expect(() => readText(Uint8Array.from(bytes), 0, bytes.length)).toThrow(TypeError);
  }
});
