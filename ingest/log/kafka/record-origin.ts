/**
 * The header of a replayed dead letter that says which record it is a copy of: `millrace-origin`, UTF-8,
 *
 *     <topic>/<partition>/<offset>
 *
 * It counts only in the topic and partition that it names, and behind that offset: in a topic that is a mirror of
 * another, offsets are different ones.
 */
import type { RecordHeaders } from '../event-log.ts';

export const ORIGIN_HEADER = 'millrace-origin';

export interface RecordOrigin {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export function originHeader({ topic, partition, offset }: RecordOrigin): Buffer {
  return Buffer.from(`${topic}/${partition}/${offset}`);
}

/** The offset of the record that the one at this place is a copy of; null: it is none. */
export function originOffsetOf(headers: RecordHeaders, place: RecordOrigin): number | null {
  const header = headers.find(([name]) => name === ORIGIN_HEADER)?.[1];
  if (header === undefined) return null;
  const text = Buffer.from(header).toString();
  const prefix = `${place.topic}/${place.partition}/`;
  if (!text.startsWith(prefix)) return null;
  const offset = /^\d{1,16}$/.test(text.slice(prefix.length)) ? Number(text.slice(prefix.length)) : -1;
  return offset >= 0 && offset < place.offset ? offset : null;
}
