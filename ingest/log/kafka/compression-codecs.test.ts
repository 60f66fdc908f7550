/** Codecs on bytes made here; kafka-log-reader.test reads what real producers compressed. */
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import kafkajs from 'kafkajs';
import lz4 from 'lz4js';
import snappy from 'snappyjs';
import { describe, expect, it } from 'vitest';
import {
  decompressLz4,
  decompressSnappy,
  decompressZstd,
  registerCompressionCodecs,
} from './compression-codecs.ts';

/** `zstd -19` of 'millrace '.repeat(1000). */
const ZSTD = Buffer.from('KLUv/QRojQAASG1pbGxyYWNlIAEAHIN8OQLH51or', 'base64');
const TEXT = Buffer.from('millrace '.repeat(1_000));
const SAMPLES = [Buffer.alloc(0), Buffer.from('a'), TEXT, randomBytes(300_000), Buffer.alloc(300_000)];

function xerial(...blocks: readonly Buffer[]): Buffer {
  const header = Buffer.from('82534e41505059000000000100000001', 'hex');
  const framed = blocks.flatMap((block) => {
    const length = Buffer.alloc(4);
    const compressed = snappy.compress(block);
    length.writeUInt32BE(compressed.length);
    return [length, compressed];
  });
  return Buffer.concat([header, ...framed]);
}

describe('compression codecs', () => {
  it('read raw and framed snappy', () => {
    for (const sample of SAMPLES) expect(decompressSnappy(snappy.compress(sample)).equals(sample)).toBe(true);
    expect(decompressSnappy(xerial(...SAMPLES)).equals(Buffer.concat(SAMPLES))).toBe(true);
  });

  it('read lz4 frames', () => {
    for (const sample of SAMPLES) {
      const frame = Buffer.from(lz4.compress(sample));
      expect(decompressLz4(frame).equals(sample)).toBe(true);
    }
  });

  it('stop at their limit, before they take the memory', () => {
    expect(() => decompressSnappy(snappy.compress(TEXT), 8_999)).toThrow(/too big/);
    expect(() => decompressSnappy(xerial(TEXT, TEXT), 17_999)).toThrow(/too big/);
    // Says it holds 4 GB less one.
    expect(() => decompressSnappy(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0]))).toThrow();
    expect(() => decompressLz4(Buffer.from(lz4.compress(Buffer.alloc(200_000))), 100_000)).toThrow(
      /more than/,
    );
    // A window of 2 GB in a frame of 9 bytes.
    const window = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00]);
    expect(() => decompressZstd(window)).toThrow(/asks for a window of 2147483648 bytes/);
    const single = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 255, 255, 255, 255, 255, 255, 0, 0, 1, 0, 0]);
    expect(() => decompressZstd(single)).toThrow(/asks for a window of 281474976710655 bytes/);
    expect(() => decompressZstd(ZSTD, 8_999)).toThrow(/window|more than/);
  });

  it('read zstd frames, also several', () => {
    expect(decompressZstd(ZSTD).equals(TEXT)).toBe(true);
    expect(decompressZstd(Buffer.concat([ZSTD, ZSTD])).length).toBe(18_000);
  });

  it('refuse what is cut off or no frame at all, and never hang', () => {
    const frames: [Buffer, (batch: Buffer) => Buffer][] = [
      [xerial(TEXT, TEXT), decompressSnappy],
      [Buffer.from(lz4.compress(TEXT)), decompressLz4],
      [ZSTD, decompressZstd],
    ];
    for (const [frame, decompress] of frames) {
      for (let length = 1; length < frame.length; length++) {
        const cut = frame.subarray(0, length);
        // A snappy frame may end after any block.
        let out: Buffer | null = null;
        try {
          out = decompress(Buffer.from(cut));
        } catch {
          continue;
        }
        expect(decompress).toBe(decompressSnappy);
        expect(out.length % TEXT.length).toBe(0);
      }
      for (let i = 0; i < 300; i++) {
        const broken = Buffer.from(frame);
        broken[(i * 7) % frame.length]! ^= 1 + (i % 255);
        try {
          expect(decompress(broken).length).toBeLessThan(10_000_000);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }
    }
  });

  it('are kafkajs’s once registered; only gzip compresses', async () => {
    registerCompressionCodecs();
    const { CompressionCodecs, CompressionTypes } = kafkajs;
    const codecs = CompressionCodecs as unknown as Record<
      number,
      () => { compress(of: { buffer: Buffer }): Promise<Buffer>; decompress(batch: Buffer): Promise<Buffer> }
    >;
    const gzip = codecs[CompressionTypes.GZIP]!();
    expect(await gzip.decompress(await gzip.compress({ buffer: TEXT }))).toEqual(TEXT);
    await expect(gzip.decompress(gzipSync(Buffer.alloc(70_000_000)))).rejects.toThrow(/larger than/);
    for (const type of [CompressionTypes.Snappy, CompressionTypes.LZ4, CompressionTypes.ZSTD]) {
      await expect(codecs[type]!().compress({ buffer: TEXT })).rejects.toThrow(/does not write them/);
    }
    expect(await codecs[CompressionTypes.Snappy]!().decompress(snappy.compress(TEXT))).toEqual(TEXT);
  });
});
