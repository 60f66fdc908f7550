import { expect, test } from 'vitest';
import type { DeadLetter } from '../../dead-letter.ts';
import { LETTER_ENDS, type LetterPart } from '../../letter-shelf.ts';
import type { LogRecord, RecordHeaders } from '../event-log.ts';
import { letterHeaders, markHeaders, shelfEntryOf } from './letter-record.ts';

const of = { topic: 'swipes', source: 'swipes' };

const letter = (headers: RecordHeaders, overrides: Partial<DeadLetter> = {}): DeadLetter => ({
  ...{ reason: 'undecodable', message: 'it is not JSON', source: 'swipes', view: null },
  ...{ partition: 1, offset: 7, readOffset: 7, appendedMs: 500, stamp: null },
  ...{ value: Buffer.from('{'), key: null, headers },
  ...overrides,
});
/** As a reader of the topic gets it: headers of one name together, in their order. */
const stored = (headers: Record<string, Buffer | Buffer[]>): LogRecord => ({
  ...{ partition: 0, offset: 20, appendedMs: 900, stamp: null, originOffset: null },
  ...{ value: Buffer.from('{'), key: null },
  headers: Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value) => [name, value] as const),
  ),
});
const readBack = (written: DeadLetter, omitted: readonly LetterPart[] = []) =>
  shelfEntryOf(stored(letterHeaders(written, 'swipes', omitted)), of);
const header = (name: string, text: string) => [name, Buffer.from(text)] as const;

test('a letter is read back as it was written', () => {
  const headers = [header('trace', '1'), header('__proto__', '2')];
  const written = letter(headers, { view: 'careful' });
  expect(readBack(written)).toEqual({
    kind: 'letter',
    letter: {
      ...{ reason: 'undecodable', message: 'it is not JSON', source: 'swipes', view: 'careful' },
      ...{ partition: 1, offset: 7, appendedMs: 500, writtenMs: 900, place: 20, omitted: [] },
      ...{ stamp: null, key: null, value: Buffer.from('{'), headers },
    },
  });
  expect(readBack(written, ['message', 'headers'])).toMatchObject({
    letter: { message: '', headers: [], omitted: ['message', 'headers'] },
  });
});

test.each(LETTER_ENDS)(
  'a mark ends the letters of its record, and says nothing of another topic: %s',
  (kind) => {
    const headers = markHeaders(kind, { partition: 1, offset: 7, upTo: 20 }, 'swipes');
    expect(shelfEntryOf(stored(headers), of)).toEqual({ kind, partition: 1, offset: 7, upTo: 20 });
    expect(shelfEntryOf(stored(headers), { ...of, topic: 'others' })).toBeNull();
  },
);

test.each(LETTER_ENDS)('a record whose headers say that a record was %s is a letter all the same', (kind) => {
  const marked = markHeaders(kind, { partition: 0, offset: 1, upTo: 1_000_000 }, 'swipes');
  const headers = Object.entries(marked).map(([name, value]) => [name, value] as const);
  expect(readBack(letter(headers))).toMatchObject({ kind: 'letter', letter: { offset: 7, headers } });
});

test('a record whose headers have the names of ours says nothing of its letter', () => {
  const headers = [
    'reason',
    'message',
    'thrown',
    'source',
    'view',
    'topic',
    'partition',
    'offset',
    'omitted',
  ].map((name) => header(`millrace-${name}`, 'value'));
  expect(readBack(letter(headers))).toMatchObject({
    kind: 'letter',
    letter: { view: null, message: 'it is not JSON', offset: 7, omitted: [], headers },
  });
});
