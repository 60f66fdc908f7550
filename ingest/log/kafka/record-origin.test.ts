import { expect, test } from 'vitest';
import { ORIGIN_HEADER, originHeader, originOffsetOf } from './record-origin.ts';

const place = { topic: 'a/b', partition: 2, offset: 10 };
const offsetOf = (text: Uint8Array | string, at = place): number | null =>
  originOffsetOf(
    [
      ['x', Buffer.from('1')],
      [ORIGIN_HEADER, Buffer.from(text)],
    ],
    at,
  );

test('a copy names its original by topic, partition and offset', () => {
  expect(offsetOf(originHeader({ topic: 'a/b', partition: 2, offset: 7 }))).toBe(7);
  expect(offsetOf('a/b/2/0')).toBe(0);
  expect(originOffsetOf([], place)).toBeNull();
});

test('what is said of another topic or partition, of the record itself or a later one, or is no offset, says nothing', () => {
  const texts = [
    'a/2/7',
    'b/2/7',
    'a/b/1/7',
    'a/b/2/10',
    'a/b/2/11',
    'a/b/2/-1',
    'a/b/2/7.5',
    'a/b/2/',
    'a/b/2/7 ',
    '',
  ];
  expect(texts.map((text) => offsetOf(text))).toEqual(texts.map(() => null));
  expect(offsetOf(Buffer.from([255, 254]))).toBeNull();
});
