import { expect, test } from 'vitest';
import { jsonRecordDecoder } from './json-record.ts';

const decoder = jsonRecordDecoder();

test('JSON comes back as it is, and there is nothing to prepare', () => {
  const value = Buffer.from('{"a":[1,"ü"]}');
  expect(decoder.prepare([value, null])).toBeUndefined();
  expect(decoder.decode(value)).toEqual({ ok: true, data: { a: [1, 'ü'] } });
});

test.each([
  ['no JSON', Buffer.from('{')],
  ['no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ['nothing', Buffer.alloc(0)],
  ['a schema id', Buffer.from([0, 0, 0, 0, 1, 2])],
])('%s is undecodable', (_, value) => {
  expect(decoder.decode(value)).toEqual({
    ok: false,
    reason: 'undecodable',
    message: 'the record is not UTF-8 JSON',
  });
});

test('a tombstone has a message of its own', () => {
  expect(decoder.decode(null)).toMatchObject({
    ok: false,
    reason: 'undecodable',
    message: expect.stringContaining('tombstone'),
  });
});
