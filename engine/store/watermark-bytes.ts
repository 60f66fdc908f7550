/**
 * A watermark as every store writes it:
 *
 *     token 8 bytes · varint next offset · f64 highest event time · f64 append time · f64 clock · text log identity
 *         · u8 format (2) · varint checksum + 1 (0: not known) · varint n, n × gap
 *         · unapplied offsets (absent: not known)
 *     gap := varint from · varint to − from · varint after + 1 (0: not known) · varint until
 *
 * The token is in front at a fixed place, so that a store can compare it without decoding the rest. The first format ended
 * with the log's identity: such a watermark knows of no gap. A later format is refused, as what it says besides could be
 * what matters.
 */
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { LogGap } from './log-gap.ts';
import { StoreFormatError } from './store-errors.ts';
import type { Watermark } from './tile-store.ts';
import { readHex, TOKEN_BYTES, writeHex } from './token-bytes.ts';
import { UnappliedOffsets } from './unapplied-offsets.ts';

const FORMAT = 2;

export function encodeWatermark(watermark: Watermark): Uint8Array {
  const writer = new ByteWriter(96);
  const token = new Uint8Array(TOKEN_BYTES);
  writeHex(token, 0, watermark.token);
  writer.raw(token);
  writer.varint(watermark.nextOffset);
  writer.f64(watermark.maxEventTimeMs);
  writer.f64(watermark.appendedMs);
  writer.f64(watermark.clockMs);
  writer.text(watermark.logIdentity);
  writer.u8(FORMAT);
  writeOptional(writer, watermark.checksum ?? null);
  const gaps = watermark.gaps ?? [];
  writer.varint(gaps.length);
  for (const { fromOffset, toOffset, afterMs, untilMs } of gaps) {
    writer.varint(fromOffset);
    writer.varint(toOffset - fromOffset);
    writeOptional(writer, afterMs);
    writer.varint(untilMs);
  }
  watermark.unapplied?.encode(writer);
  return writer.finish();
}

/** @throws StoreFormatError where a later version of Millrace wrote it */
export function decodeWatermark(bytes: Uint8Array): Watermark {
  const reader = new ByteReader(bytes);
  const token = readHex(reader.raw(TOKEN_BYTES), 0);
  const watermark = {
    token,
    nextOffset: reader.varint(),
    maxEventTimeMs: reader.f64(),
    appendedMs: reader.f64(),
    clockMs: reader.f64(),
    logIdentity: reader.text(),
  };
  if (reader.done) return watermark;
  const format = reader.u8();
  if (format !== FORMAT) {
    throw new StoreFormatError(
      `the store has a watermark of format ${format}, and this version of Millrace knows formats up to ${FORMAT}: ` +
        'go on with the version that wrote it',
    );
  }
  const checksum = readOptional(reader);
  const count = reader.varint();
  const gaps: LogGap[] = [];
  for (let i = 0; i < count; i++) {
    const fromOffset = reader.varint();
    const toOffset = fromOffset + reader.varint();
    gaps.push({ fromOffset, toOffset, afterMs: readOptional(reader), untilMs: reader.varint() });
  }
  return {
    ...watermark,
    ...(checksum === null ? {} : { checksum }),
    ...(gaps.length === 0 ? {} : { gaps }),
    ...(reader.done ? {} : { unapplied: UnappliedOffsets.decode(reader) }),
  };
}

function writeOptional(writer: ByteWriter, value: number | null): void {
  writer.varint(value === null ? 0 : value + 1);
}

function readOptional(reader: ByteReader): number | null {
  const value = reader.varint();
  return value === 0 ? null : value - 1;
}
