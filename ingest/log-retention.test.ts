import { describe, expect, test } from 'vitest';
import { clicks, NOON_MS, payment, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { truncateLog } from './log-retention.ts';

const DAY_MS = 86_400_000;
// Windows of an hour, asOfRetention a day.
const source = testRepo.sources.get(clicks.name)!;
const withLifetime = testRepo.sources.get('payments')!;

async function logOf(times: readonly number[]): Promise<MemoryEventLog> {
  const log = new MemoryEventLog({ source: 'x', partitions: 1, random: () => 'i', segmentRecords: 1 });
  const value = Buffer.from(JSON.stringify(payment()));
  await log.append(
    times.map((eventTimeMs) => ({ partition: 0, appendedMs: eventTimeMs, stamp: null, value, eventTimeMs })),
  );
  return log;
}

const truncate = (
  log: MemoryEventLog,
  nowMs: number,
  options: {
    source?: CompiledSource;
    appliedOffset?: number | (() => number);
    maxBytes?: number;
    wallMs?: number;
    storeFlushed?: () => Promise<void>;
  } = {},
) =>
  truncateLog({
    source: options.source ?? source,
    log,
    clock: new ManualClock(nowMs),
    wallClock: new ManualClock(options.wallMs ?? nowMs),
    retention: { minAgeMs: DAY_MS, maxBytes: options.maxBytes ?? 1e9 },
    appliedOffset: () => {
      const { appliedOffset = 3 } = options;
      return typeof appliedOffset === 'number' ? appliedOffset : appliedOffset();
    },
    storeFlushed: options.storeFlushed ?? (async () => {}),
  });

describe('log retention', () => {
  test('keeps what a window can still reach', async () => {
    const log = await logOf([NOON_MS, NOON_MS + 1, NOON_MS + 2]);
    const reachable = DAY_MS + 3_600_000;
    expect(await truncate(log, NOON_MS + reachable)).toBe(0);
    expect(await truncate(log, NOON_MS + reachable + 1)).toBe(1);
    expect(await log.ends(0)).toEqual({ startOffset: 1, endOffset: 3 });
  });

  test('keeps everything while a lifetime window needs it, until the log is too large', async () => {
    const log = await logOf([NOON_MS, NOON_MS, NOON_MS]);
    expect(await truncate(log, NOON_MS * 2, { source: withLifetime })).toBe(0);
    expect(await truncate(log, NOON_MS, { source: withLifetime, maxBytes: 1 })).toBe(3);
  });

  test('never drops what a rebuild needs that has begun while the store was flushed', async () => {
    const log = await logOf([NOON_MS, NOON_MS, NOON_MS]);
    let needed = 3;
    const storeFlushed = async (): Promise<void> => {
      needed = 1;
    };
    expect(await truncate(log, NOON_MS * 2, { appliedOffset: () => needed, maxBytes: 1, storeFlushed })).toBe(
      1,
    );
    // What was applied while it was flushed may be lost with the store.
    const applied = async (): Promise<void> => {
      needed = 3;
    };
    expect(
      await truncate(log, NOON_MS * 2, { appliedOffset: () => needed, maxBytes: 1, storeFlushed: applied }),
    ).toBe(0);
  });

  test('never drops what is not applied yet', async () => {
    const log = await logOf([NOON_MS, NOON_MS, NOON_MS]);
    expect(await truncate(log, NOON_MS * 2, { appliedOffset: 2, maxBytes: 1 })).toBe(2);
  });

  test('drops nothing that a power failure may take back from the store', async () => {
    const log = await logOf([NOON_MS, NOON_MS, NOON_MS]);
    const storeFlushed = async (): Promise<never> => {
      expect(await log.ends(0)).toEqual({ startOffset: 0, endOffset: 3 });
      throw new Error('the disk is gone');
    };
    await expect(truncate(log, NOON_MS * 2, { maxBytes: 1, storeFlushed })).rejects.toThrow(
      'the disk is gone',
    );
    expect(await log.ends(0)).toEqual({ startOffset: 0, endOffset: 3 });
  });

  test('keeps what was appended lately, however old its events', async () => {
    const log = await logOf([NOON_MS, NOON_MS, NOON_MS]);
    expect(await truncate(log, NOON_MS * 2, { wallMs: NOON_MS + DAY_MS })).toBe(0);
  });
});
