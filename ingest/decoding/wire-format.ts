/**
 * How serializers of schema registries mark a value: a zero byte and the big-endian id of the writer's schema,
 * then the payload. JSON text never begins with a zero byte, so both kinds can share a topic.
 */
import type { ByteCursor } from './byte-cursor.ts';

/** First byte of a value with a schema id. */
export const MAGIC = 0;
/** First byte of a value with a schema GUID of 16 bytes, as newer clients write if told to. */
export const GUID_MAGIC = 1;
/** Bytes before the payload. */
export const HEADER_BYTES = 5;

/** @param value with `MAGIC` in front and at least `HEADER_BYTES` long */
export function schemaIdOf(value: Uint8Array): number {
  return ((value[1]! << 24) | (value[2]! << 16) | (value[3]! << 8) | value[4]!) >>> 0;
}

/** Deeper nesting than compilers accept is none. */
const MESSAGE_INDEXES_MAX = 64;

/**
 * Which message of a Protobuf schema the payload is: indexes from the outermost in, each in order of declaration;
 * zigzag varints after their count. A single 0 stands for the first message.
 */
export function readMessageIndexes(cursor: ByteCursor): readonly number[] {
  const count = readIndex(cursor);
  if (count === 0) return FIRST_MESSAGE;
  if (count > MESSAGE_INDEXES_MAX) cursor.fail();
  const indexes: number[] = [];
  for (let i = 0; i < count; i++) indexes.push(readIndex(cursor));
  return indexes;
}

const FIRST_MESSAGE: readonly number[] = [0];

function readIndex(cursor: ByteCursor): number {
  cursor.varint();
  cursor.unzigzag();
  if (cursor.high !== 0 || cursor.low < 0) cursor.fail();
  return cursor.low;
}
