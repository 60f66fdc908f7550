/** Records that are the event as UTF-8 JSON: what the push API writes. */
import { type Decoded, type RecordDecoder, refused } from './record-decoder.ts';

const textDecoder = new TextDecoder('utf-8', { fatal: true });

const NOT_JSON = refused('the record is not UTF-8 JSON');

/** A record without a value deletes a key of a compacted topic; an event is never taken back. */
export const NO_VALUE = refused('the record has no value (a tombstone)');

/** The record's bytes as JSON. */
export function decodeJson(value: Uint8Array): Decoded {
  try {
    return { ok: true, data: JSON.parse(textDecoder.decode(value)) };
  } catch {
    return NOT_JSON;
  }
}

/** For logs that only the push API writes: every record is JSON, and there is nothing to prepare. */
export function jsonRecordDecoder(): RecordDecoder {
  return {
    prepare: () => undefined,
    decodable: (values) => [...values].length,
    decode: (value) => (value === null ? NO_VALUE : decodeJson(value)),
  };
}
