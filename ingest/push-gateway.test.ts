import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { NOON_MS, payment, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { decodeEvent } from '../engine/definitions/decode-event.ts';
import { IngestProgress } from './ingest-progress.ts';
import type { AppendRecord } from './log/event-log.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { PushBudget } from './push-budget.ts';
import { PushGateway } from './push-gateway.ts';

const random = () => randomBytes(8).toString('hex');

/** A log whose appends wait for the test, one by one. */
class SteppedLog extends MemoryEventLog {
  readonly waiting: { succeed: () => void; fail: () => void }[] = [];

  override async append(records: readonly AppendRecord[]): Promise<number[]> {
    await new Promise<void>((resolve, reject) => {
      this.waiting.push({ succeed: resolve, fail: () => reject(new Error('lost')) });
    });
    return super.append(records);
  }
}

function gatewayOn(
  log: MemoryEventLog,
  options: { source?: string; partitions?: number; recentIds?: number } = {},
): PushGateway {
  const source = testRepo.sources.get(options.source ?? 'payments')!;
  const clock = new ManualClock(NOON_MS);
  const progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
  const budget = new PushBudget(1e9);
  const { recentIds = 1_000 } = options;
  for (let partition = 0; partition < (options.partitions ?? 1); partition++) {
    progress.track(source, partition, 0, new Map());
  }
  return new PushGateway({ source, log, progress, clock, budget, recentIds, appliedTimeoutMs: 1 });
}

const memoryLog = (partitions = 1) => new MemoryEventLog({ source: 'payments', partitions, random });

async function recordsOf(log: MemoryEventLog, partition = 0) {
  return log
    .read({ partition, fromOffset: 0, maxRecords: 10_000, maxBytes: 1e9 })
    .then(({ records }) => records);
}

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('duplicates of an event that is still being written', () => {
  test('are acknowledged only when the first is durable', async () => {
    const log = new SteppedLog({ source: 'payments', partitions: 1, random });
    const gateway = gatewayOn(log);
    const event = payment();
    const first = gateway.push([event]);
    await turns();
    let acknowledged = false;
    const second = gateway.push([event]).then((result) => {
      acknowledged = true;
      return result;
    });
    await turns();
    expect([acknowledged, log.waiting.length]).toEqual([false, 1]);
    log.waiting[0]!.succeed();
    expect(await first).toMatchObject({ accepted: 1, duplicates: 0 });
    expect(await second).toMatchObject({ accepted: 0, duplicates: 1 });
  });

  test('fail with it, and the id is free again', async () => {
    const log = new SteppedLog({ source: 'payments', partitions: 1, random });
    const gateway = gatewayOn(log);
    const event = payment();
    const first = gateway.push([event]);
    await turns();
    const second = gateway.push([event, payment()]);
    await turns();
    log.waiting[1]!.succeed();
    log.waiting[0]!.fail();
    await expect(first).rejects.toMatchObject({ code: 'log_unavailable' });
    await expect(second).rejects.toMatchObject({ code: 'log_unavailable' });
    const third = gateway.push([event]);
    await turns();
    log.waiting[2]!.succeed();
    expect(await third).toMatchObject({ accepted: 1, duplicates: 0 });
  });
});

describe('a log that is another one than was applied', () => {
  const applied = async (log: MemoryEventLog) => {
    const source = testRepo.sources.get('payments')!;
    const clock = new ManualClock(NOON_MS);
    const progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
    progress.track(source, 0, 0, new Map());
    const budget = new PushBudget(1e9);
    const gateway = new PushGateway({
      source,
      log,
      progress,
      clock,
      budget,
      recentIds: 9,
      appliedTimeoutMs: 1,
    });
    await gateway.push([payment(), payment()]);
    for (const view of source.views) progress.applied(view, 0, 2, NOON_MS);
    return { gateway, progress };
  };

  test('is told by the place of a record, as if nothing was taken', async () => {
    const log = memoryLog();
    const { gateway } = await applied(log);
    log.recreate(0);
    const event = payment();
    for (const wait of ['applied', 'durable'] as const) {
      const pushed = gateway.push([event], { wait });
      await expect(pushed).rejects.toMatchObject({
        code: 'log_unavailable',
        message: expect.stringMatching(/was applied up to 2: it lost records or is another log/),
      });
    }
    // Of the log that begins where the old one ended, it cannot be.
    expect(await gateway.push([event])).toMatchObject({ accepted: 1 });
  });

  test('takes nothing once its end was seen', async () => {
    const log = memoryLog();
    const { gateway, progress } = await applied(log);
    log.recreate(0);
    progress.setShortfall('payments', 0, { endOffset: 0, nextOffset: 2 });
    const event = payment();
    await expect(gateway.push([event])).rejects.toMatchObject({ code: 'log_unavailable' });
    expect(await recordsOf(log)).toEqual([]);
    progress.setShortfall('payments', 0, null);
    await expect(gateway.push([event], { dryRun: true })).resolves.toMatchObject({ accepted: 1 });
  });
});

describe('what is recorded', () => {
  test('decodes to an equal event, 64-bit integers included, and holds declared columns only', async () => {
    const log = memoryLog();
    const gateway = gatewayOn(log);
    const event = payment({
      points: '-9223372036854775808',
      shop: 'caf\u00e9 \u{1F600}',
      extra: 'ignored',
      amount: 0.1,
    });
    await gateway.push([event]);
    const [record] = await recordsOf(log);
    const stored = JSON.parse(Buffer.from(record!.value!).toString());
    expect(stored).not.toHaveProperty('extra');
    const decode = decodeEvent(testRepo.sources.get('payments')!);
    expect(decode(stored)).toEqual(decode(event));
    expect(record).toMatchObject({ appendedMs: NOON_MS, stamp: null });
  });

  test('has a stamp of its own per event where the source has no ids', async () => {
    const log = new MemoryEventLog({ source: 'clicks', partitions: 1, random });
    const click = { at: NOON_MS, card: 'c', page: 'p' };
    await gatewayOn(log, { source: 'clicks' }).push([click, click, click]);
    const stamps = (await recordsOf(log)).map(({ stamp }) => stamp);
    expect(new Set(stamps).size).toBe(3);
    expect(stamps).not.toContain(null);
  });

  test('spreads over partitions by id, so that an id is always in one', async () => {
    const log = memoryLog(4);
    const events = Array.from({ length: 200 }, () => payment());
    await gatewayOn(log, { partitions: 4 }).push(events);
    await gatewayOn(log, { partitions: 4 }).push(events);
    const partitionOf = new Map<string, number>();
    let held = 0;
    for (let partition = 0; partition < 4; partition++) {
      for (const { value } of await recordsOf(log, partition)) {
        const { id } = JSON.parse(Buffer.from(value!).toString());
        expect(partitionOf.get(id) ?? partition).toBe(partition);
        partitionOf.set(id, partition);
        held++;
      }
      expect((await log.ends(partition)).endOffset).toBeGreaterThan(40);
    }
    expect(held).toBe(400);
  });

  test('keeps the order of a large push, which is decoded in slices', async () => {
    const log = memoryLog();
    const events = Array.from({ length: 2_500 }, (_, i) => payment({ amount: i }));
    const result = await gatewayOn(log, { recentIds: 5_000 }).push([...events, ...events]);
    expect(result).toMatchObject({ accepted: 2_500, duplicates: 2_500 });
    const amounts = (await recordsOf(log)).map(
      ({ value }) => JSON.parse(Buffer.from(value!).toString()).amount,
    );
    expect(amounts).toEqual(events.map(({ amount }) => amount));
  });
});

describe('after a restart', () => {
  test('the newest ids are known again, up to the limit', async () => {
    const log = memoryLog();
    const events = Array.from({ length: 50 }, () => payment());
    await gatewayOn(log).push(events);
    const gateway = gatewayOn(log, { recentIds: 10 });
    await gateway.refill(log);
    expect(await gateway.push(events.slice(40), { dryRun: true })).toMatchObject({
      accepted: 0,
      duplicates: 10,
    });
    expect(await gateway.push(events.slice(0, 40), { dryRun: true })).toMatchObject({
      accepted: 40,
      duplicates: 0,
    });
  });
});

describe('the horizon', () => {
  test('is inclusive, and counts from the event that was accepted', async () => {
    const gateway = gatewayOn(memoryLog());
    const HORIZON_MS = 3_600_000;
    const at = (ms: number) => gateway.push([payment({ id: 'h', at: NOON_MS - 10 * HORIZON_MS + ms })]);
    expect(await at(0)).toMatchObject({ accepted: 1 });
    expect(await at(HORIZON_MS)).toMatchObject({ duplicates: 1 });
    expect(await at(HORIZON_MS + 1)).toMatchObject({ accepted: 1 });
  });
});

test('a closed gateway takes nothing', async () => {
  const gateway = gatewayOn(memoryLog());
  await gateway.close();
  await expect(gateway.push([payment()])).rejects.toMatchObject({ code: 'shutting_down' });
});
