/**
 * Decompression of record batches, for kafkajs, which only has gzip and bounds nothing. Compressing is left to
 * gzip: we write batches plain or gzipped.
 *
 * All of it is bounded by `MAX_BATCH_BYTES`: a batch of a megabyte may claim to hold gigabytes. A batch that cannot
 * be decompressed stops its partition (kafkajs decodes before it hands records out, so nobody can step over one);
 * brokers refuse such batches from producers, except that they do not mind their size.
 */
import { promisify } from 'node:util';
import { gzip as gzipCallback, unzip as unzipCallback } from 'node:zlib';
import { Decompress } from 'fzstd';
import kafkajs from 'kafkajs';
import lz4 from 'lz4js';
import snappy from 'snappyjs';

/** Limit of a decompressed batch. */
export const MAX_BATCH_BYTES = 64 * 1024 * 1024;

const gzip = promisify(gzipCallback);
const unzip = promisify(unzipCallback);

/** What kafkajs asks of a codec. */
interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
  decompress(batch: Buffer): Promise<Buffer>;
}

/** Registers the codecs with kafkajs; once per process is enough, more often does no harm. */
export function registerCompressionCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  const codecs: Record<number, () => Codec> = CompressionCodecs;
  codecs[CompressionTypes.GZIP] = () => ({
    compress: ({ buffer }) => gzip(buffer),
    decompress: (batch) => unzip(batch, { maxOutputLength: MAX_BATCH_BYTES }),
  });
  codecs[CompressionTypes.Snappy] = () => readOnly('snappy', decompressSnappy);
  codecs[CompressionTypes.LZ4] = () => readOnly('lz4', decompressLz4);
  codecs[CompressionTypes.ZSTD] = () => readOnly('zstd', decompressZstd);
}

function readOnly(name: string, decompress: (batch: Buffer) => Buffer): Codec {
  return {
    compress: async () => {
      throw new Error(`millrace reads ${name} batches but does not write them: use gzip or none`);
    },
    decompress: async (batch) => decompress(batch),
  };
}

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
/** Magic, version, lowest compatible version. */
const XERIAL_HEADER_BYTES = 16;

/** Raw snappy (librdkafka), or blocks of it with lengths in front (the Java client). */
export function decompressSnappy(batch: Buffer, maxBytes = MAX_BATCH_BYTES): Buffer {
  if (!batch.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC))
    return decompressSnappyBlock(batch, maxBytes);
  const blocks: Buffer[] = [];
  let bytes = 0;
  if (batch.length < XERIAL_HEADER_BYTES) throw new Error('a snappy batch ends within its header');
  for (let at = XERIAL_HEADER_BYTES; at < batch.length; ) {
    if (at + 4 > batch.length) throw new Error('a snappy batch ends within a block length');
    const length = batch.readUInt32BE(at);
    at += 4;
    if (at + length > batch.length) throw new Error('a snappy batch ends within a block');
    const block = decompressSnappyBlock(batch.subarray(at, at + length), maxBytes - bytes);
    blocks.push(block);
    bytes += block.length;
    at += length;
  }
  return Buffer.concat(blocks, bytes);
}

/** snappyjs leaves zeros where a block ends early: the lengths in it must add up to what it says it holds. */
function decompressSnappyBlock(block: Buffer, maxBytes: number): Buffer {
  const bytes = snappy.uncompress(block, maxBytes);
  let at = block.findIndex((byte) => byte < 128) + 1;
  let covered = 0;
  while (at < block.length) {
    const tag = block[at]!;
    at += 1;
    if ((tag & 3) !== 0) {
      covered += (tag & 3) === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
      at += [0, 1, 2, 4][tag & 3]!;
      continue;
    }
    const lengthBytes = Math.max(0, (tag >> 2) - 59);
    const literal = (lengthBytes === 0 ? tag >> 2 : block.readUIntLE(at, lengthBytes)) + 1;
    covered += literal;
    at += lengthBytes + literal;
  }
  if (covered !== bytes.length || at !== block.length) throw new Error('a snappy block that is incomplete');
  return bytes;
}

const LZ4_MAGIC = 0x184d2204;
const LZ4_PLAIN_BLOCK = 0x80000000;
const LZ4_BLOCK_BYTES: Readonly<Record<number, number>> = { 4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22 };

/**
 * One LZ4 frame. Only the blocks are lz4js's work: its frame reader believes a content size (and reads it wrong),
 * and takes an input that ends early for complete.
 */
export function decompressLz4(batch: Buffer, maxBytes = MAX_BATCH_BYTES): Buffer {
  if (batch.length < 7 || batch.readUInt32LE(0) !== LZ4_MAGIC) throw new Error('not an lz4 frame');
  const flags = batch[4]!;
  if (flags >> 6 !== 1 || (flags & 1) !== 0) throw new Error('an lz4 frame of an unknown version');
  const blockChecksums = (flags & 0x10) !== 0;
  const blockBytes = LZ4_BLOCK_BYTES[(batch[5]! >> 4) & 7];
  if (blockBytes === undefined) throw new Error('an lz4 frame with an unknown block size');
  const first = 4 + 2 + ((flags & 8) !== 0 ? 8 : 0) + 1;

  const blocks: { at: number; length: number; plain: boolean }[] = [];
  let bound = 0;
  for (let at = first; ; ) {
    if (at + 4 > batch.length) throw new Error('an lz4 frame without its end');
    const word = batch.readUInt32LE(at);
    at += 4;
    if (word === 0) break;
    const plain = word >= LZ4_PLAIN_BLOCK;
    const length = plain ? word - LZ4_PLAIN_BLOCK : word;
    if (at + length > batch.length) throw new Error('an lz4 frame ends within a block');
    blocks.push({ at, length, plain });
    // A compressed block holds at most what its frame says, and at most 255 times its own size.
    bound += plain ? length : Math.min(blockBytes, length * 255);
    at += length + (blockChecksums ? 4 : 0);
  }
  // Blocks but the last are full, so that this is off by one block at most.
  if (bound > maxBytes + blockBytes) throw new Error(`an lz4 batch of more than ${maxBytes} bytes`);
  const out = Buffer.alloc(bound);
  let end = 0;
  for (const { at, length, plain } of blocks) {
    if (plain) end += batch.copy(out, end, at, at + length);
    else end = lz4.decompressBlock(batch, out, at, length, end);
    if (!(end <= bound)) throw new Error('an lz4 block holds more than its frame allows');
  }
  if (end > maxBytes) throw new Error(`an lz4 batch of more than ${maxBytes} bytes`);
  return out.subarray(0, end);
}

export function decompressZstd(batch: Buffer, maxBytes = MAX_BATCH_BYTES): Buffer {
  checkZstdWindows(batch, maxBytes);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream = new Decompress((chunk) => {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`a zstd batch of more than ${maxBytes} bytes`);
    chunks.push(chunk);
  });
  stream.push(batch, true);
  return Buffer.concat(chunks, bytes);
}

const ZSTD_MAGIC = 0xfd2fb528;

/** fzstd allocates the window a frame asks for before it reads a block: up to 2 GB for a few bytes. */
function checkZstdWindows(batch: Buffer, maxBytes: number): void {
  for (let at = 0; at < batch.length; ) {
    if (at + 6 > batch.length || batch.readUInt32LE(at) !== ZSTD_MAGIC) throw new Error('not a zstd frame');
    const descriptor = batch[at + 4]!;
    const singleSegment = (descriptor & 0x20) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
    const sizeFlag = descriptor >> 6;
    const sizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag;
    let next = at + 5;
    let window = 0;
    if (!singleSegment) {
      const base = 2 ** (10 + (batch[next]! >> 3));
      window = base + (base / 8) * (batch[next]! & 7);
      next += 1;
    }
    next += dictionaryBytes;
    if (next + sizeBytes > batch.length) throw new Error('a zstd frame ends within its header');
    if (singleSegment) {
      window = sizeBytes === 8 ? Number(batch.readBigUInt64LE(next)) : batch.readUIntLE(next, sizeBytes);
      if (sizeFlag === 1) window += 256;
    }
    if (window > maxBytes) throw new Error(`a zstd frame that asks for a window of ${window} bytes`);
    next += sizeBytes;
    for (let last = false; !last; ) {
      if (next + 3 > batch.length) throw new Error('a zstd frame ends within a block');
      const header = batch.readUIntLE(next, 3);
      last = (header & 1) !== 0;
      next += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
    }
    at = next + ((descriptor & 4) !== 0 ? 4 : 0);
  }
}
