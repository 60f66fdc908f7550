/**
 * What is kept in the topic of dead letters. A letter has key, value and headers of its record, and behind these our headers,
 * UTF-8:
 *
 *     millrace-reason, millrace-message, millrace-thrown (what a filter or projection threw), millrace-source,
 *     millrace-view (where one view could not use it),
 *     millrace-topic, millrace-partition, millrace-offset, millrace-timestamp (append time, ms),
 *     millrace-omitted (where something was left out), and then millrace-stamp, if it went with the other headers
 *
 * A mark says that a record was replayed, or its letters discarded. It has neither key nor value, and the headers
 * `millrace-replayed`, or `millrace-discarded`, with the origin and `millrace-up-to` with the offset of the last letter that is
 * done with.
 *
 * Headers of records are somebody else's and may have our names: of each name the last one is ours, and what has a reason is
 * a letter, whatever came with its record.
 */
import { DEAD_LETTER_REASONS, type DeadLetter, type DeadLetterReason } from '../../dead-letter.ts';
import {
  LETTER_ENDS,
  LETTER_PARTS,
  type LetterEnd,
  type LetterMark,
  type LetterPart,
  type ShelfEntry,
} from '../../letter-shelf.ts';
import type { LogRecord, RecordHeaders } from '../event-log.ts';
import { originHeader } from './record-origin.ts';
import { STAMP_HEADER } from './topic-writer.ts';

/** The topic that the letters are of, and its source. */
export interface LetterSource {
  readonly topic: string;
  readonly source: string;
}

const OWN_NAMES = [
  'reason',
  'message',
  'thrown',
  'source',
  'view',
  'topic',
  'partition',
  'offset',
  'timestamp',
  'omitted',
] as const;
const OWN_HEADERS = OWN_NAMES.map((name) => `millrace-${name}`);

/** Of a mark. */
const endHeader = (end: LetterEnd): string => `millrace-${end}`;
const UP_TO_HEADER = 'millrace-up-to';

/**
 * The headers of a letter.
 * @param topic that its record is from
 * @param omitted what was left out, or cut, so that the letter fits
 */
export function letterHeaders(
  letter: DeadLetter,
  topic: string,
  omitted: readonly LetterPart[],
): Record<string, Buffer | Buffer[]> {
  // No prototype: the names are somebody else's.
  const headers: Record<string, Buffer | Buffer[]> = Object.create(null);
  const add = (name: string, value: Buffer): void => {
    const former = headers[name];
    if (former === undefined) headers[name] = value;
    else if (Array.isArray(former)) former.push(value);
    else headers[name] = [former, value];
  };
  const isWithout = omitted.includes('headers');
  if (!isWithout) {
    for (const [name, { buffer, byteOffset, byteLength }] of letter.headers) {
      add(name, Buffer.from(buffer, byteOffset, byteLength));
    }
  }
  const { reason, message, thrown, source, view, partition, offset, appendedMs: timestamp, stamp } = letter;
  const ours: Record<(typeof OWN_NAMES)[number], string | number | null> = {
    ...{ reason, source, view, topic, partition, offset, timestamp },
    message: omitted.includes('message') ? null : message,
    thrown: omitted.includes('message') ? null : (thrown ?? null),
    omitted: omitted.length === 0 ? null : omitted.join(','),
  };
  for (const [i, name] of OWN_NAMES.entries()) {
    const header = OWN_HEADERS[i]!;
    const value = ours[name];
    // An empty one behind one of the record's, which would be taken for ours.
    if (value !== null || header in headers) add(header, Buffer.from(String(value ?? '')));
  }
  // Else it is among the record's headers.
  if (isWithout && stamp !== null) add(STAMP_HEADER, Buffer.from(stamp));
  return headers;
}

/** The headers of a mark. */
export function markHeaders(
  end: LetterEnd,
  { partition, offset, upTo }: LetterMark,
  topic: string,
): Record<string, Buffer> {
  return {
    [endHeader(end)]: originHeader({ topic, partition, offset }),
    [UP_TO_HEADER]: Buffer.from(String(upTo)),
  };
}

/** null: of another topic, or nothing of ours. */
export function shelfEntryOf(record: LogRecord, of: LetterSource): ShelfEntry | null {
  return ownHeader(record, 'millrace-reason') === null ? markOf(record, of) : letterOf(record, of);
}

function markOf(record: LogRecord, { topic }: LetterSource): ShelfEntry | null {
  const kind = LETTER_ENDS.find((end) => ownHeader(record, endHeader(end)) !== null);
  if (kind === undefined) return null;
  const match = /^(.*)\/(\d+)\/(\d+)$/.exec(ownHeader(record, endHeader(kind)) ?? '');
  if (match === null || match[1] !== topic) return null;
  const upTo = Number(ownHeader(record, UP_TO_HEADER) ?? record.offset);
  return { kind, partition: Number(match[2]), offset: Number(match[3]), upTo };
}

function letterOf(record: LogRecord, { topic, source }: LetterSource): ShelfEntry | null {
  const own = (name: string): string | null => ownHeader(record, `millrace-${name}`);
  const reason = own('reason');
  const partition = Number(own('partition') ?? Number.NaN);
  const offset = Number(own('offset') ?? Number.NaN);
  if (own('topic') !== topic || !isReason(reason)) return null;
  if (!Number.isSafeInteger(partition) || !Number.isSafeInteger(offset)) return null;
  const thrown = own('thrown') || null;
  const omitted = (own('omitted') ?? '').split(',').filter(isPart);
  return {
    kind: 'letter',
    letter: {
      ...{ reason, partition, offset, omitted, source },
      message: own('message') ?? '',
      ...(thrown === null ? {} : { thrown }),
      view: own('view') || null,
      appendedMs: Number(own('timestamp') ?? 0),
      writtenMs: record.appendedMs,
      place: record.offset,
      stamp: record.stamp,
      value: record.value,
      key: record.key,
      headers: withoutOwn(record.headers, omitted),
    },
  };
}

const isReason = (text: string | null): text is DeadLetterReason =>
  DEAD_LETTER_REASONS.some(({ reason }) => reason === text);
const isPart = (text: string): text is LetterPart => (LETTER_PARTS as readonly string[]).includes(text);

function ownHeader({ headers }: LogRecord, name: string): string | null {
  const value = headers.findLast(([own]) => own === name)?.[1];
  return value === undefined ? null : Buffer.from(value).toString();
}

/** The headers of the record: without the last of each of our names. */
function withoutOwn(headers: RecordHeaders, omitted: readonly LetterPart[]): RecordHeaders {
  const left = [...headers];
  // A stamp that stands behind headers that were left out was the record's.
  const names = omitted.includes('headers') ? [...OWN_HEADERS, STAMP_HEADER] : OWN_HEADERS;
  for (const name of names) {
    const at = left.findLastIndex(([own]) => own === name);
    if (at >= 0) left.splice(at, 1);
  }
  return left;
}
