import { describe, expect, it } from 'vitest';
import { describeEventLog } from './event-log.contract.ts';
import { LogFullError } from './log-errors.ts';
import { MemoryEventLog } from './memory-event-log.ts';

function counter(): () => string {
  let next = 0;
  return () => `random ${next++}`;
}

describeEventLog('memory', async () => {
  const log = new MemoryEventLog({ source: 'events', partitions: 3, random: counter(), segmentRecords: 10 });
  return { log, truncation: { log, segmentRecords: 10 }, dispose: () => log.close() };
});

describe('memory event log', () => {
  const record = (value: string) => ({
    partition: 0,
    appendedMs: 5,
    stamp: null,
    value: Buffer.from(value),
    eventTimeMs: 4,
  });

  it('is another log after it was made again', async () => {
    const log = new MemoryEventLog({ source: 'events', partitions: 2, random: counter() });
    await log.append([record('a')]);
    const before = [await log.identity(0), await log.identity(1)];
    log.recreate(0);
    expect(await log.identity(0)).not.toBe(before[0]);
    expect(await log.identity(1)).toBe(before[1]);
    expect(await log.ends(0)).toEqual({ startOffset: 0, endOffset: 0 });
  });

  it('refuses to grow beyond maxBytes until something was dropped', async () => {
    const log = new MemoryEventLog({
      source: 's',
      partitions: 1,
      random: counter(),
      maxBytes: 10,
      segmentRecords: 1,
    });
    await log.append([record('12345'), record('67890')]);
    await expect(log.append([record('1')])).rejects.toThrow(LogFullError);
    await log.truncate({
      partition: 0,
      keepEventTimeMs: 0,
      keepAppendedMs: 0,
      maxBytes: 9,
      beforeOffset: 1e9,
    });
    expect(await log.append([record('1')])).toEqual([2]);
  });
});
