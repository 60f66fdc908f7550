/**
 * The binary keys of the lmdb event log. Numbers are big-endian, so that keys order by source, partition, offset.
 *
 *     partition        source length u16 · source UTF-8 · partition u16
 *     record, segment  partition · offset u64          (a segment's is the offset of its first record)
 */
import { readU64, writeText, writeU16, writeU64 } from '../../engine/store/lmdb-keys.ts';

/** The prefix of all keys of a source, whose text the caller has checked. */
export function sourceKey(source: string): Uint8Array {
  const bytes = new Uint8Array(2 + source.length * 3);
  const length = writeText(bytes, 2, source);
  writeU16(bytes, 0, length);
  return bytes.slice(0, 2 + length);
}

export function partitionKey(source: string, partition: number): Uint8Array {
  const prefix = sourceKey(source);
  const key = new Uint8Array(prefix.length + 2);
  key.set(prefix);
  writeU16(key, prefix.length, partition);
  return key;
}

export function offsetKey(partition: Uint8Array, offset: number): Uint8Array {
  const key = new Uint8Array(partition.length + 8);
  key.set(partition);
  writeU64(key, partition.length, offset);
  return key;
}

/** Turns one offset key into another of the same partition, in place. */
export function setOffset(key: Uint8Array, offset: number): void {
  writeU64(key, key.length - 8, offset);
}

export function offsetOf(key: Uint8Array): number {
  return readU64(key, key.length - 8);
}
