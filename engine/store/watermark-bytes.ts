/**
 * A watermark as every store writes it:
 *
 *     token 8 bytes · varint next offset · f64 highest event time · f64 append time · f64 clock · text log identity
 *
 * The token is in front at a fixed place, so that a store can compare it without decoding the rest.
 */
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { Watermark } from './tile-store.ts';
import { readHex, TOKEN_BYTES, writeHex } from './token-bytes.ts';

export function encodeWatermark(watermark: Watermark): Uint8Array {
  const writer = new ByteWriter(64);
  const token = new Uint8Array(TOKEN_BYTES);
  writeHex(token, 0, watermark.token);
  writer.raw(token);
  writer.varint(watermark.nextOffset);
  writer.f64(watermark.maxEventTimeMs);
  writer.f64(watermark.appendedMs);
  writer.f64(watermark.clockMs);
  writer.text(watermark.logIdentity);
  return writer.finish();
}

export function decodeWatermark(bytes: Uint8Array): Watermark {
  const reader = new ByteReader(bytes);
  const token = readHex(reader.raw(TOKEN_BYTES), 0);
  return {
    token,
    nextOffset: reader.varint(),
    maxEventTimeMs: reader.f64(),
    appendedMs: reader.f64(),
    clockMs: reader.f64(),
    logIdentity: reader.text(),
  };
}
