import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectoryLockedError } from '../../engine/store/directory-lock.ts';
import { describeEventLog } from './event-log.contract.ts';
import type { AppendRecord, EventLog, LogChunk, LogRecord } from './event-log.ts';
import type { LmdbEventLog } from './lmdb-event-log.ts';
import { offsetKey, partitionKey } from './lmdb-log-keys.ts';
import { LmdbLogs, type LmdbLogsOptions } from './lmdb-logs.ts';
import { LogFullError, OffsetOutOfRangeError } from './log-errors.ts';
import { MemoryEventLog } from './memory-event-log.ts';

const makeDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'millrace-log-'));
const ALL = { maxRecords: 1_000_000, maxBytes: 1e9 };

describeEventLog('lmdb', async () => {
  const path = await makeDirectory();
  const logs = await LmdbLogs.open(path, { segmentRecords: 10 });
  const log = await logs.log('events', 3);
  return {
    log,
    truncation: { log, segmentRecords: 10 },
    dispose: async () => {
      await logs.close();
      await rm(path, { recursive: true });
    },
  };
});

describe('lmdb event logs', () => {
  let path: string;
  const opened: LmdbLogs[] = [];

  const open = async (options: LmdbLogsOptions = {}): Promise<LmdbLogs> => {
    const logs = await LmdbLogs.open(path, options);
    opened.push(logs);
    return logs;
  };

  beforeEach(async () => {
    path = await makeDirectory();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((logs) => logs.close()));
    await rm(path, { recursive: true });
  });

  const record = (value: string, overrides: Partial<AppendRecord> = {}): AppendRecord => ({
    partition: 0,
    appendedMs: 5,
    stamp: null,
    value: Buffer.from(value!),
    eventTimeMs: 4,
    ...overrides,
  });
  const readAll = async (log: EventLog, partition: number): Promise<readonly LogRecord[]> => {
    const { startOffset: fromOffset } = await log.ends(partition);
    return (await log.read({ partition, fromOffset, ...ALL })).records;
  };
  const values = async (log: EventLog, partition = 0): Promise<string[]> =>
    (await readAll(log, partition)).map(({ value }) => Buffer.from(value!).toString());

  it('are as before after reopening', async () => {
    const first = await open({ segmentRecords: 4 });
    const log = await first.log('events', 2);
    await log.append(
      Array.from({ length: 10 }, (_, i) => record(`${i}`, { stamp: `s${i}`, eventTimeMs: i })),
    );
    await log.append([record('other', { partition: 1 })]);
    await log.truncate({
      partition: 0,
      keepEventTimeMs: 4,
      keepAppendedMs: 9,
      maxBytes: 1e9,
      beforeOffset: 100,
    });
    const facts = async (of: LmdbEventLog) => ({
      ends: [await of.ends(0), await of.ends(1)],
      identities: [await of.identity(0), await of.identity(1)],
      records: [...(await readAll(of, 0)), ...(await readAll(of, 1))].map(({ value, ...rest }) => ({
        ...rest,
        value: Buffer.from(value!).toString(),
      })),
    });
    const before = await facts(log);
    expect(before.ends[0]).toEqual({ startOffset: 4, endOffset: 10 });
    await first.close();

    const second = await open({ segmentRecords: 4 });
    const again = await second.log('events', 2);
    expect(await facts(again)).toEqual(before);
    expect(await again.append([record('next')])).toEqual([10]);
    const drop = { partition: 0, keepEventTimeMs: 8, keepAppendedMs: 9, maxBytes: 1e9, beforeOffset: 100 };
    expect(await again.truncate(drop)).toBe(4);
    expect(await values(again)).toEqual(['8', '9', 'next']);
  });

  it('never use an offset again, also when everything was truncated before reopening', async () => {
    const first = await open();
    const log = await first.log('events', 1);
    await log.append([record('a'), record('b')]);
    await log.truncate({
      partition: 0,
      keepEventTimeMs: 0,
      keepAppendedMs: 0,
      maxBytes: 0,
      beforeOffset: 100,
    });
    await first.close();
    const again = await (await open()).log('events', 1);
    expect(await again.ends(0)).toEqual({ startOffset: 2, endOffset: 2 });
    expect(await again.append([record('c')])).toEqual([2]);
  });

  it('do not bring back a segment that was appended to and dropped in one transaction', async () => {
    const first = await open();
    const log = await first.log('events', 1);
    await log.append([record('a')]);
    const drop = { partition: 0, keepEventTimeMs: 0, keepAppendedMs: 0, maxBytes: 0, beforeOffset: 100 };
    const [, dropped] = await Promise.all([log.append([record('b')]), log.truncate(drop)]);
    expect(dropped).toBe(2);
    await first.close();
    const again = await (await open()).log('events', 1);
    expect(await again.ends(0)).toEqual({ startOffset: 2, endOffset: 2 });
    expect(await values(again)).toEqual([]);
  });

  it('keep sources apart, with names that start each other', async () => {
    const logs = await open();
    const sources = ['', 'a', 'ab', 'a\0', '}', '😀'];
    for (const source of sources)
      await (await logs.log(source, 2)).append([record(source, { partition: 1 })]);
    for (const source of sources) expect(await values(await logs.log(source, 2), 1)).toEqual([source]);
    await expect(logs.log('\uD800', 1)).rejects.toThrow(/lone surrogate/);
  });

  it('give the same log to every caller, grow and do not shrink', async () => {
    const logs = await open();
    const [one, two] = await Promise.all([logs.log('events', 1), logs.log('events', 2)]);
    expect(one).toBe(two);
    expect(await one!.partitions()).toBe(2);
    await Promise.all([logs.log('events', 3), logs.log('events', 3)]);
    expect(await one!.partitions()).toBe(3);
    await one!.append([record('x', { partition: 2 })]);
    await expect(logs.log('events', 2)).rejects.toThrow(/cannot shrink/);
    expect(await logs.log('events', 3)).toBe(one);
  });

  it('open a source again after only its log was closed', async () => {
    const logs = await open();
    const log = await logs.log('events', 1);
    const appended = log.append([record('in flight')]);
    await log.close();
    await appended;
    const again = await logs.log('events', 1);
    expect(again).not.toBe(log);
    expect(await values(again)).toEqual(['in flight']);
  });

  it('belong to one opener at a time', async () => {
    await open();
    await expect(open()).rejects.toThrow(DirectoryLockedError);
  });

  it('finish appends in flight before they close', async () => {
    const first = await open();
    const log = await first.log('events', 1);
    const appends = Array.from({ length: 50 }, (_, i) => log.append([record(`${i}`)]));
    await first.close();
    expect((await Promise.all(appends)).flat()).toHaveLength(50);
    expect(await values(await (await open()).log('events', 1))).toHaveLength(50);
  });

  it('refuse to grow beyond maxBytes, say what to do, and refuse nothing else of the same flush', async () => {
    const logs = await open({ maxBytes: 10, segmentRecords: 1 });
    const log = await logs.log('events', 1);
    const results = await Promise.allSettled([
      log.append([record('12345')]),
      log.append([record('123456')]),
      log.append([record('67890')]),
    ]);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const error = (results[1] as PromiseRejectedResult).reason;
    expect(error).toBeInstanceOf(LogFullError);
    expect(error.message).toMatch(/maxBytes.*retention/);
    expect(await values(log)).toEqual(['12345', '67890']);
    await log.truncate({
      partition: 0,
      keepEventTimeMs: 0,
      keepAppendedMs: 0,
      maxBytes: 9,
      beforeOffset: 100,
    });
    expect(await log.append([record('1')])).toEqual([2]);
  });

  it('have injective keys that order by partition, then offset', () => {
    const sources = fc.string({ unit: fc.constantFrom('a', '\0', '\u0001', 'é'), maxLength: 3 });
    const entries = fc.tuple(sources, fc.nat(300), fc.oneof(fc.nat(300), fc.maxSafeNat()));
    const key = ([source, partition, offset]: [string, number, number]) =>
      Buffer.from(offsetKey(partitionKey(source, partition), offset));
    fc.assert(
      fc.property(entries, entries, (a, b) => {
        expect(key(a).equals(key(b))).toBe(JSON.stringify(a) === JSON.stringify(b));
        const order = a[1] - b[1] || a[2] - b[2];
        if (a[0] === b[0]) expect(Math.sign(Buffer.compare(key(a), key(b)))).toBe(Math.sign(order));
      }),
      { numRuns: 5000, seed: 7 },
    );
  });

  it('answer as the memory log does, whatever the sequence of operations', async () => {
    const logs = await open({ segmentRecords: 5, flush: false });
    const operations = fc.oneof(
      fc.record({
        kind: fc.constant('append' as const),
        records: fc.array(fc.record({ partition: fc.nat(1), size: fc.nat(20), timeMs: fc.nat(30) }), {
          maxLength: 8,
        }),
      }),
      fc.record({
        kind: fc.constant('read' as const),
        partition: fc.nat(1),
        fromOffset: fc.nat(40),
        maxRecords: fc.nat(10),
        maxBytes: fc.nat(60),
      }),
      fc.record({
        kind: fc.constant('truncate' as const),
        partition: fc.nat(1),
        keepEventTimeMs: fc.nat(35),
        keepAppendedMs: fc.nat(35),
        maxBytes: fc.oneof(fc.constant(1e9), fc.nat(200)),
        beforeOffset: fc.nat(60),
      }),
    );
    let runs = 0;
    const property = fc.asyncProperty(fc.array(operations, { maxLength: 30 }), async (sequence) => {
      const memory = new MemoryEventLog({
        source: 's',
        partitions: 2,
        random: () => 'id',
        segmentRecords: 5,
      });
      const both: EventLog[] = [await logs.log(`run ${runs++}`, 2), memory];
      for (const { kind, ...operation } of sequence) {
        const [ours, theirs] = await Promise.all(
          both.map(async (log) => {
            if ('records' in operation) {
              const records = operation.records.map(({ partition, size, timeMs }) =>
                record('v'.repeat(size), { partition, eventTimeMs: timeMs, appendedMs: 30 - timeMs }),
              );
              return log.append(records);
            }
            if ('beforeOffset' in operation) return log.truncate(operation);
            const read = await log.read(operation).catch((error: unknown) => error);
            if (read instanceof OffsetOutOfRangeError) return 'out of range';
            const { records, nextOffset } = read as LogChunk;
            return records.map(({ value, ...rest }) => ({
              ...rest,
              nextOffset,
              value: Buffer.from(value!).toString(),
            }));
          }),
        );
        expect(ours, kind).toEqual(theirs);
        expect(await both[0]!.ends(0)).toEqual(await both[1]!.ends(0));
        expect(await both[0]!.ends(1)).toEqual(await both[1]!.ends(1));
      }
    });
    await fc.assert(property, { numRuns: 100, seed: 20_261_122 });
  });

  it('hold every acknowledged record after the process was killed while appending', async () => {
    const program = fileURLToPath(new URL('./testing/append-until-killed.ts', import.meta.url));
    for (const acknowledgedMin of [100, 3000]) {
      const child = spawn(process.execPath, ['--import', 'tsx', program, path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      let lines = 0;
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        lines += text.split('\n').length - 1;
        if (lines >= acknowledgedMin) child.kill('SIGKILL');
      });
      await once(child, 'close');
      const acknowledged = output.split('\n').slice(0, -1);
      expect(acknowledged.length).toBeGreaterThanOrEqual(acknowledgedMin);

      const logs = await open({ segmentRecords: 50 });
      const log = await logs.log('events', 2);
      const held = new Map<string, string>();
      for (const partition of [0, 1]) {
        const { startOffset, endOffset } = await log.ends(partition);
        const records = await readAll(log, partition);
        expect(records).toHaveLength(endOffset - startOffset);
        for (const { offset, value } of records)
          held.set(`${partition} ${offset}`, Buffer.from(value!).toString());
        // All or nothing: calls were of three records.
        expect(records.length % 3).toBe(0);
      }
      for (const line of acknowledged) {
        const [partition, offset, value] = line.split(' ');
        expect(held.get(`${partition} ${offset}`)).toBe(value);
      }
      await logs.close();
    }
  });
});
