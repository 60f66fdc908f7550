/**
 * What every event log must do. Run by each log's test file with its own factory. It does not assume that
 * offsets are consecutive or start at 0, nor how large segments are beyond what the harness says.
 *
 * What it does not catch: acknowledging before the disk has it (see the crash test of the lmdb log, and power
 * failures, which no test here can make).
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  AppendRecord,
  EventLog,
  LogReader,
  LogRecord,
  LogWriter,
  ReadArgs,
  TruncateArgs,
} from './event-log.ts';
import { OffsetOutOfRangeError } from './log-errors.ts';

export interface EventLogHarness {
  /** Empty, with three partitions. Reads return what there is, not only what was fetched already. */
  readonly log: LogReader & LogWriter & { close(): Promise<void> };
  /** Of a log that keeps itself small; null: retention is somebody else's work. */
  readonly truncation: {
    readonly log: EventLog;
    /** So many records surely fill a segment, if the log has segments at all. */
    readonly segmentRecords: number;
  } | null;
  /** Closes the log and removes what the test left. */
  dispose(): Promise<void>;
}

const NOW_MS = 1_700_000_000_000;
const ALL = { maxRecords: 1_000_000, maxBytes: 1e9 };
const KEEP_ALL = {
  keepEventTimeMs: -1,
  keepAppendedMs: -1,
  maxBytes: 1e12,
  beforeOffset: Number.MAX_SAFE_INTEGER,
};

export function describeEventLog(
  title: string,
  open: () => Promise<EventLogHarness>,
  { truncates = true }: { readonly truncates?: boolean } = {},
): void {
  describe(`${title}: event log contract`, () => {
    let harness: EventLogHarness;
    let log: EventLogHarness['log'];

    beforeEach(async () => {
      harness = await open();
      log = harness.log;
    });
    afterEach(() => harness.dispose());

    const record = (value: string, overrides: Partial<AppendRecord> = {}): AppendRecord => ({
      partition: 0,
      appendedMs: NOW_MS,
      stamp: null,
      value: Buffer.from(value),
      eventTimeMs: NOW_MS - 1,
      ...overrides,
    });
    const valuesOf = (records: readonly LogRecord[]): string[] =>
      records.map(({ value }) => Buffer.from(value!).toString());
    const recordsOf = async (args: ReadArgs): Promise<readonly LogRecord[]> => (await log.read(args)).records;
    const readAll = async (partition = 0): Promise<string[]> =>
      valuesOf(await recordsOf({ partition, fromOffset: (await log.ends(partition)).startOffset, ...ALL }));
    const batch = (count: number, overrides: Partial<AppendRecord> = {}): AppendRecord[] =>
      Array.from({ length: count }, (_, i) => record(`record ${i}`, overrides));

    it('starts empty, with its partitions and an identity for each', async () => {
      expect(await log.partitions()).toBe(3);
      const identities = await Promise.all([0, 1, 2].map((partition) => log.identity(partition)));
      expect(new Set(identities).size).toBe(3);
      for (const partition of [0, 1, 2]) {
        const { startOffset, endOffset } = await log.ends(partition);
        expect(startOffset).toBe(endOffset);
        expect(await readAll(partition)).toEqual([]);
      }
    });

    it('gives back what was appended, whole and in order', async () => {
      const appended = [
        record('{"a":1}', { stamp: 'stamp-1', appendedMs: 0 }),
        record('{"b":"\\u0000😀"}', { appendedMs: 8.64e15, eventTimeMs: -5 }),
        record('', { stamp: '€'.repeat(64) }),
        record('x'.repeat(1_000_000)),
        record('\u{FEFF}', { stamp: '\u{FEFF}' }),
        record('copy', { originOffset: 0 }),
        record('{}', { originOffset: 3, stamp: '€'.repeat(64) }),
      ];
      const offsets = await log.append(appended);
      const records = await recordsOf({ partition: 0, fromOffset: 0, ...ALL });
      expect(
        records.map(({ partition, offset, appendedMs, stamp, originOffset, value }) => ({
          partition,
          offset,
          appendedMs,
          stamp,
          originOffset,
          value: Buffer.from(value!).toString(),
        })),
      ).toEqual(
        appended.map(({ appendedMs, stamp, originOffset, value }, i) => ({
          partition: 0,
          offset: offsets[i],
          appendedMs,
          stamp,
          originOffset: originOffset ?? null,
          value: Buffer.from(value!).toString(),
        })),
      );
      expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
      expect(new Set(offsets).size).toBe(offsets.length);
    });

    it('keeps partitions apart and answers offsets in the order of the call', async () => {
      const offsets = await log.append([
        record('a', { partition: 1 }),
        record('b', { partition: 0 }),
        record('c', { partition: 1 }),
        record('d', { partition: 2 }),
      ]);
      expect(await Promise.all([0, 1, 2].map((partition) => readAll(partition)))).toEqual([
        ['b'],
        ['a', 'c'],
        ['d'],
      ]);
      const [c] = await recordsOf({ partition: 1, fromOffset: offsets[2]!, ...ALL });
      expect(c!.offset).toBe(offsets[2]);
    });

    it('reads from an offset, up to a number of records', async () => {
      const offsets = await log.append(batch(10));
      const from = (fromOffset: number, maxRecords: number) =>
        recordsOf({ partition: 0, fromOffset, maxRecords, maxBytes: 1e9 });
      expect(valuesOf(await from(offsets[4]!, 3))).toEqual(['record 4', 'record 5', 'record 6']);
      expect(valuesOf(await from(offsets[9]!, 3))).toEqual(['record 9']);
      expect(await from(offsets[9]! + 1, 3)).toEqual([]);
      expect(await from(Number.MAX_SAFE_INTEGER, 3)).toEqual([]);
      expect(await from(offsets[0]!, 0)).toEqual([]);
    });

    it('stops before the bytes pass the limit, but gives at least one record', async () => {
      await log.append([record('x'.repeat(10)), record('y'.repeat(10)), record('z'.repeat(10))]);
      const upTo = async (maxBytes: number) =>
        (await recordsOf({ partition: 0, fromOffset: 0, maxRecords: 100, maxBytes })).length;
      expect(await Promise.all([0, 1, 10, 19, 20, 29, 30, 31].map(upTo))).toEqual([1, 1, 1, 1, 2, 2, 3, 3]);
    });

    it('says where it begins and ends', async () => {
      const before = await log.ends(0);
      const offsets = await log.append(batch(5));
      const after = await log.ends(0);
      expect(after.startOffset).toBe(before.startOffset);
      expect(offsets[0]).toBeGreaterThanOrEqual(before.endOffset);
      expect(after.endOffset).toBeGreaterThan(offsets[4]!);
      expect(await log.ends(1)).toEqual(before);
    });

    it('shows an appended record to a read after the promise has resolved', async () => {
      for (let i = 0; i < 20; i++) {
        const [offset] = await log.append([record(`now ${i}`)]);
        expect((await log.ends(0)).endOffset).toBeGreaterThan(offset!);
        expect(valuesOf(await recordsOf({ partition: 0, fromOffset: offset!, ...ALL }))).toEqual([
          `now ${i}`,
        ]);
      }
    });

    it('appends concurrent calls all, each in order, with offsets of their own', async () => {
      const calls = Array.from({ length: 40 }, (_, call) =>
        Array.from({ length: 5 }, (_, i) => record(`${call}:${i}`)),
      );
      const offsets = await Promise.all(calls.map((records) => log.append(records)));
      const records = await recordsOf({ partition: 0, fromOffset: 0, ...ALL });
      const byOffset = new Map(records.map(({ offset, value }) => [offset, Buffer.from(value!).toString()]));
      expect(byOffset.size).toBe(200);
      offsets.forEach((own, call) => {
        expect(own).toEqual([...own].sort((a, b) => a - b));
        expect(own.map((offset) => byOffset.get(offset))).toEqual([0, 1, 2, 3, 4].map((i) => `${call}:${i}`));
      });
    });

    it('keeps its own copy of what was appended', async () => {
      const value = Buffer.from('as accepted');
      await log.append([record('', { value })]);
      value.fill(0);
      expect(await readAll()).toEqual(['as accepted']);
    });

    it('refuses what it cannot keep, and then appends nothing of the call', async () => {
      const bad: Partial<AppendRecord>[] = [
        { partition: 3 },
        { partition: -1 },
        { partition: 0.5 },
        { stamp: '' },
        { stamp: 'x'.repeat(65) },
        { stamp: '\uD800' },
        { appendedMs: -1 },
        { appendedMs: Number.NaN },
        { eventTimeMs: 0.5 },
        { eventTimeMs: Number.POSITIVE_INFINITY },
      ];
      for (const overrides of bad)
        await expect(log.append([record('good'), record('bad', overrides)])).rejects.toThrow();
      expect(await readAll()).toEqual([]);
      await expect(log.read({ partition: 3, fromOffset: 0, ...ALL })).rejects.toThrow(/partition/);
      await expect(log.ends(-1)).rejects.toThrow(/partition/);
    });

    it('appends nothing for an empty call', async () => {
      expect(await log.append([])).toEqual([]);
      expect(await readAll()).toEqual([]);
    });

    describe('waiting', () => {
      const never = new AbortController().signal;

      it('ends at once where there is a record already', async () => {
        const [first] = await log.append(batch(2));
        await log.waitFor(0, first!, never);
        await log.waitFor(0, 0, never);
      });

      it('ends when a record reaches the offset, in this partition', async () => {
        const { endOffset } = await log.ends(0);
        const woken: string[] = [];
        const waits = [
          log.waitFor(0, endOffset, never).then(() => woken.push('first')),
          log.waitFor(0, endOffset, never).then(() => woken.push('also first')),
        ];
        await log.append([record('elsewhere', { partition: 1 })]);
        expect(woken).toEqual([]);
        await log.append([record('here')]);
        await Promise.all(waits);
        expect(woken).toEqual(['first', 'also first']);
        expect(await readAll()).toEqual(['here']);
      });

      it('ends when the signal aborts, before or during the wait', async () => {
        const { endOffset } = await log.ends(0);
        await log.waitFor(0, endOffset, AbortSignal.abort());
        const abort = new AbortController();
        const wait = log.waitFor(0, endOffset + 100, abort.signal);
        abort.abort();
        await wait;
      });
    });

    const describeTruncation = (): void => {
      const truncate = (args: TruncateArgs): Promise<number> => harness.truncation!.log.truncate(args);
      const segmentRecords = (): number => harness.truncation!.segmentRecords;

      /** Three runs of records, each filling a segment, with rising times; returns their offsets. */
      const fill = async (): Promise<number[][]> => {
        const runs: number[][] = [];
        for (const time of [1000, 2000, 3000]) {
          runs.push(await log.append(batch(segmentRecords(), { eventTimeMs: time, appendedMs: time + 500 })));
        }
        return runs;
      };

      it('drops nothing that is young enough by either time', async () => {
        await fill();
        const before = await log.ends(0);
        expect(await truncate({ ...KEEP_ALL, partition: 0 })).toBe(0);
        expect(
          await truncate({ ...KEEP_ALL, partition: 0, keepEventTimeMs: 1e9, keepAppendedMs: 1500 }),
        ).toBe(0);
        expect(
          await truncate({ ...KEEP_ALL, partition: 0, keepEventTimeMs: 1000, keepAppendedMs: 1e9 }),
        ).toBe(0);
        expect(await log.ends(0)).toEqual(before);
      });

      it('drops old records from the front, and none that is young', async () => {
        const [, second] = await fill();
        const dropped = await truncate({
          ...KEEP_ALL,
          partition: 0,
          keepEventTimeMs: 1001,
          keepAppendedMs: 1501,
        });
        expect(dropped).toBe(segmentRecords());
        const { startOffset } = await log.ends(0);
        expect(startOffset).toBeGreaterThan(second![0]! - segmentRecords());
        expect(startOffset).toBeLessThanOrEqual(second![0]!);
        const one = { partition: 0, maxRecords: 1, maxBytes: 1e9 };
        const [first] = await recordsOf({ ...one, fromOffset: startOffset });
        expect(first).toMatchObject({ offset: second![0], appendedMs: 2500 });
      });

      it('lets one young record hold the records appended after it', async () => {
        await log.append([record('young', { eventTimeMs: 9000, appendedMs: 100 })]);
        await log.append(batch(3 * segmentRecords(), { eventTimeMs: 1, appendedMs: 100 }));
        expect(
          await truncate({ ...KEEP_ALL, partition: 0, keepEventTimeMs: 9000, keepAppendedMs: 1e9 }),
        ).toBe(0);
      });

      it('drops young records too while the partition is too large', async () => {
        const runs = await fill();
        const bytes = (await readAll()).reduce((sum, value) => sum + value.length, 0);
        const dropped = await truncate({ ...KEEP_ALL, partition: 0, maxBytes: bytes - 1 });
        expect(dropped).toBeGreaterThan(0);
        expect(dropped).toBeLessThan(3 * segmentRecords());
        expect(await readAll()).toHaveLength(runs.flat().length - dropped);
        expect(await truncate({ ...KEEP_ALL, partition: 0, maxBytes: bytes - 1 })).toBe(0);
      });

      it('refuses to be read from before its start, so that nobody passes what is gone unknowingly', async () => {
        await fill();
        await truncate({ ...KEEP_ALL, partition: 0, maxBytes: 0 });
        const { startOffset } = await log.ends(0);
        const below = log.read({ partition: 0, fromOffset: startOffset - 1, ...ALL });
        await expect(below).rejects.toThrow(OffsetOutOfRangeError);
        expect(await recordsOf({ partition: 0, fromOffset: startOffset, ...ALL })).toEqual([]);
      });

      it('never drops at or beyond the given offset', async () => {
        const [first, second] = await fill();
        const all = { ...KEEP_ALL, partition: 0, maxBytes: 0 };
        expect(await truncate({ ...all, beforeOffset: first![0]! })).toBe(0);
        await truncate({ ...all, beforeOffset: second![1]! });
        expect((await log.ends(0)).startOffset).toBeLessThanOrEqual(second![1]!);
        const read = await recordsOf({ partition: 0, fromOffset: second![1]!, ...ALL });
        expect(read[0]!.offset).toBe(second![1]);
        expect(read).toHaveLength(2 * segmentRecords() - 1);
      });

      it('can drop everything, and never uses an offset again', async () => {
        const runs = await fill();
        const { endOffset } = await log.ends(0);
        expect(await truncate({ ...KEEP_ALL, partition: 0, maxBytes: 0 })).toBe(runs.flat().length);
        expect(await log.ends(0)).toEqual({ startOffset: endOffset, endOffset });
        expect(await readAll()).toEqual([]);
        const [next] = await log.append([record('after')]);
        expect(next).toBeGreaterThanOrEqual(endOffset);
        expect(await readAll()).toEqual(['after']);
        expect(await truncate({ ...KEEP_ALL, partition: 0 })).toBe(0);
      });

      it('leaves other partitions and the identity alone', async () => {
        await fill();
        await log.append(batch(3, { partition: 1, eventTimeMs: 0, appendedMs: 0 }));
        const identity = await log.identity(0);
        await truncate({ ...KEEP_ALL, partition: 0, maxBytes: 0 });
        expect(await readAll(1)).toHaveLength(3);
        expect(await log.identity(0)).toBe(identity);
      });

      it('runs beside appends and another truncation without losing or repeating a record', async () => {
        await fill();
        const old = { ...KEEP_ALL, partition: 0, keepEventTimeMs: 5000, keepAppendedMs: 5000 };
        const [, one, two] = await Promise.all([
          log.append([record('young', { eventTimeMs: 9000, appendedMs: 9000 })]),
          truncate(old),
          truncate(old),
        ]);
        expect((await readAll()).length).toBe(3 * segmentRecords() + 1 - one - two);
        expect((await readAll()).at(-1)).toBe('young');
      });
    };
    if (truncates) describe('truncation', describeTruncation);

    it('closes twice without harm, ends waiting with an error and answers nothing afterwards', async () => {
      await log.append(batch(2));
      const { endOffset } = await log.ends(0);
      const wait = log.waitFor(0, endOffset, new AbortController().signal);
      const refused = expect(wait).rejects.toThrow(/closed/);
      await Promise.all([log.close(), log.close()]);
      await log.close();
      await refused;
      await expect(log.append(batch(1))).rejects.toThrow(/closed/);
      await expect(log.read({ partition: 0, fromOffset: 0, ...ALL })).rejects.toThrow(/closed/);
    });
  });
}
