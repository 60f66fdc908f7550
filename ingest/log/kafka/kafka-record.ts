/** A record of a topic as kafkajs hands it out → a record of our log. */
import type { KafkaMessage } from 'kafkajs';
import type { LogRecord, RecordHeaders } from '../event-log.ts';
import { originOffsetOf } from './record-origin.ts';
import { STAMP_HEADER } from './topic-writer.ts';

const MAX_STAMP_LENGTH = 64;
const NO_HEADERS: RecordHeaders = [];
const EMPTY = new Uint8Array(0);
/** Records cost memory beyond their bytes. */
const RECORD_OVERHEAD_BYTES = 150;
const stampDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Unknown offsets and times are `Number.NaN`. */
export interface DecodedRecords {
  readonly records: LogRecord[];
  /** What they take of memory, about; one number for each record. */
  readonly bytes: number[];
}

/**
 * The records, with bytes of their own: what kafkajs hands out are views of the whole fetch response, which holds
 * the other partitions' records too and would live as long as one of them.
 *
 * Names of headers that repeat keep their order; among different names it is the order of their first, except that
 * kafkajs puts names that are array indexes first. A header without a value has an empty one.
 */
export function toLogRecords(
  { topic, partition }: { readonly topic: string; readonly partition: number },
  messages: readonly KafkaMessage[],
): DecodedRecords {
  const headersOf = messages.map(({ headers }) => toHeaders(headers));
  let total = 0;
  messages.forEach(({ key, value }, i) => {
    total += (key?.length ?? 0) + (value?.length ?? 0);
    for (const [, bytes] of headersOf[i]!) total += bytes.length;
  });
  const own = Buffer.allocUnsafeSlow(total);
  let end = 0;
  const copy = (bytes: Uint8Array | null | undefined): Uint8Array | null => {
    if (bytes === null || bytes === undefined) return null;
    own.set(bytes, end);
    end += bytes.length;
    return own.subarray(end - bytes.length, end);
  };
  const bytes: number[] = [];
  const records = messages.map(({ offset, timestamp, key, value }, i): LogRecord => {
    const from = end;
    const headers = headersOf[i]!;
    const record = {
      partition,
      offset: Number(offset),
      appendedMs: toAppendedMs(timestamp),
      stamp: stampOf(headers),
      originOffset:
        headers.length === 0 ? null : originOffsetOf(headers, { topic, partition, offset: Number(offset) }),
      value: copy(value),
      key: copy(key),
      headers:
        headers.length === 0 ? NO_HEADERS : headers.map(([name, value]) => [name, copy(value)!] as const),
    };
    bytes.push(RECORD_OVERHEAD_BYTES + (end - from));
    return record;
  });
  return { records, bytes };
}

/** −1 and what is no time at all: 0, "unknown". */
function toAppendedMs(timestamp: string): number {
  const ms = Number(timestamp);
  return Number.isSafeInteger(ms) && ms > 0 ? ms : 0;
}

function toHeaders(headers: KafkaMessage['headers']): RecordHeaders {
  if (headers === undefined) return NO_HEADERS;
  const list: [string, Uint8Array][] = [];
  for (const name of Object.keys(headers)) {
    const values: unknown = headers[name];
    if (!Array.isArray(values)) {
      list.push([name, bytesOf(values) ?? EMPTY]);
      continue;
    }
    for (const value of values) {
      const bytes = value === null ? EMPTY : bytesOf(value);
      // A header named like a member of Object.prototype comes with that member in front (kafkajs RecordDecoder).
      if (bytes !== null) list.push([name, bytes]);
    }
  }
  return list.length === 0 ? NO_HEADERS : list;
}

function bytesOf(value: unknown): Uint8Array | null {
  if (value instanceof Uint8Array) return value;
  return typeof value === 'string' ? Buffer.from(value) : null;
}

function stampOf(headers: RecordHeaders): string | null {
  for (const [name, bytes] of headers) {
    if (name !== STAMP_HEADER || bytes.length === 0 || bytes.length > 4 * MAX_STAMP_LENGTH) continue;
    try {
      const stamp = stampDecoder.decode(bytes);
      return stamp.length <= MAX_STAMP_LENGTH ? stamp : null;
    } catch {
      return null;
    }
  }
  return null;
}
