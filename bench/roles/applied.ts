/** How far the log has been applied, as the watermarks in Redis say it: asking costs the engine's processes nothing. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { DEFAULT_REDIS_PREFIX, RedisKeys } from '../../engine/store/redis/redis-keys.ts';
import { decodeWatermark } from '../../engine/store/watermark-bytes.ts';

const WATERMARKS = new RedisKeys(DEFAULT_REDIS_PREFIX, 1).shard(0).watermarks;

/** Records applied: the sum over views and partitions of logs that begin at 0, markers of transactions included. */
export async function appliedRecords(redis: Redis): Promise<number> {
  let sum = 0;
  for (const [field, watermark] of Object.entries(await redis.hgetallBuffer(WATERMARKS))) {
    // The mark and its incarnation are no watermarks.
    if (!field.startsWith('.')) sum += decodeWatermark(watermark).nextOffset;
  }
  return sum;
}

export interface Progress {
  readonly records: number;
  readonly atMs: number;
}

/**
 * Waits until `records` are applied; resolves with the first look that found any (where that found all, the one before
 * it), and the last.
 * @throws after `timeoutMs`
 */
export async function untilApplied(
  redis: Redis,
  records: number,
  options: {
    readonly timeoutMs: number;
    readonly pollMs?: number;
    readonly onProgress?: (progress: Progress) => Promise<void> | void;
  },
): Promise<{ readonly first: Progress; readonly last: Progress }> {
  const startedMs = performance.now();
  let first: Progress | null = null;
  let before: Progress = { records: 0, atMs: startedMs };
  for (;;) {
    const progress = { records: await appliedRecords(redis), atMs: performance.now() };
    if (progress.records > 0) {
      first ??= progress;
      await options.onProgress?.(progress);
    } else before = progress;
    if (progress.records >= records) {
      return { first: first === null || first === progress ? before : first, last: progress };
    }
    if (progress.atMs - startedMs > options.timeoutMs) {
      throw new Error(`only ${progress.records} of ${records} records applied in ${options.timeoutMs} ms`);
    }
    await delay(options.pollMs ?? 20);
  }
}

/** A watermark is seen in Redis before the process that has moved it hears of that, and counts. */
const COUNTED_WITHIN_MS = 30_000;

/** Every event counted, none of them twice. @throws where it is not so */
export async function checkCounted(counted: () => Promise<number>, events: number): Promise<void> {
  let applied = await counted();
  for (const deadlineMs = performance.now() + COUNTED_WITHIN_MS; applied < events; ) {
    if (performance.now() > deadlineMs) break;
    await delay(10);
    applied = await counted();
  }
  if (applied !== events) throw new Error(`${applied} of ${events} events were applied`);
}
