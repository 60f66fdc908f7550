import { pino } from 'pino';
import { beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { count, entity, featureView, integer, streamSource, string, timestamp } from '../index.ts';
import { Metrics } from '../serve/metrics.ts';
import { sourceAppendReachMs } from './log-reach.ts';
import { LogReachWatch, type LogReachWatchOptions, type WatchedLog } from './log-reach-watch.ts';

const DAY_MS = 86_400_000;
const NOW_MS = 1_780_000_000_000;

/** A log whose partitions hold records appended at these times, from the offset where each begins. */
class TimesLog implements WatchedLog {
  readonly source: CompiledSource;
  problems: string[] = [];
  failing = false;
  partitions: { startOffset: number; appendedMs: number[] }[] = [];

  constructor(source: CompiledSource) {
    this.source = source;
  }

  async retentionProblems(): Promise<readonly string[]> {
    return this.problems;
  }

  async start(fromMs: number): ReturnType<WatchedLog['start']> {
    if (this.failing) throw new Error('it does not answer');
    return {
      ends: this.partitions.map(({ startOffset, appendedMs }) => {
        return { startOffset, endOffset: startOffset + appendedMs.length };
      }),
      firstWithin: this.partitions.map(({ startOffset, appendedMs }) => {
        const at = appendedMs.findIndex((ms) => ms >= fromMs);
        return startOffset + (at < 0 ? appendedMs.length : at);
      }),
    };
  }
}

const sourceOf = (window: 'sliding' | 'lifetime'): CompiledSource => {
  const source = streamSource({
    name: 'logins',
    columns: { id: integer(), at: timestamp(), ip: string() },
    ...{ eventTime: 'at', eventId: 'id', maxFuture: '1d' },
  });
  const logins = window === 'sliding' ? count().over('8d') : count().lifetime();
  const view = featureView({
    ...{ name: 'failures', source, entity: entity('ip'), features: { logins } },
    asOfRetention: '1d',
  });
  return [...compileRepo([source, view]).sources.values()][0]!;
};
/** 8 days of window, 1 of as-of retention, 1 of `maxFuture`. */
const REACH_MS = 10 * DAY_MS;

let lines: { level: number; msg: string }[];
let log: TimesLog;
let watch: LogReachWatch;
const begin = (source: CompiledSource, options: Partial<LogReachWatchOptions> = {}): void => {
  lines = [];
  log = new TimesLog(source);
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  watch = new LogReachWatch({ logs: [log], clock: new ManualClock(NOW_MS), logger, ...options });
};
beforeEach(() => begin(sourceOf('sliding')));

const metric = async (): Promise<string | undefined> => {
  const metrics = new Metrics({ process: false });
  watch.count(metrics);
  return /^millrace_log_too_short\{source="logins"\} (\d)$/m.exec(await metrics.text())?.[1];
};
const ago = (ms: number): number => NOW_MS - ms;

test('a topic that is told to keep less says so once in the log, as long as it is so in readiness', async () => {
  expect(sourceAppendReachMs(log.source)).toBe(REACH_MS);
  log.partitions = [{ startOffset: 0, appendedMs: [ago(1)] }];
  await watch.look();
  expect([watch.warnings, lines, await metric()]).toEqual([[], [], '0']);

  log.problems = ['topic t: retention.ms is 1'];
  await watch.look();
  await watch.look();
  const first = 'source logins, topic t: retention.ms is 1';
  expect([watch.warnings, await metric()]).toEqual([[first], '1']);
  expect(lines).toEqual([expect.objectContaining({ level: 40, source: 'logins', msg: first })]);

  log.problems = ['topic t: retention.ms is 2'];
  await watch.look();
  expect(watch.warnings).toEqual(['source logins, topic t: retention.ms is 2']);
  expect(lines.map(({ msg }) => msg)).toEqual([first, 'source logins, topic t: retention.ms is 2']);

  log.problems = [];
  await watch.look();
  expect([watch.warnings, await metric()]).toEqual([[], '0']);
  expect(lines.at(-1)).toMatchObject({ level: 30, msg: 'the log keeps again what windows reach back to' });
  expect(lines).toHaveLength(3);
});

test('a log that has lost what windows reach says so until they do not any more, however it came about', async () => {
  const clock = new ManualClock(NOW_MS);
  begin(sourceOf('sliding'), { clock });
  log.partitions = [
    { startOffset: 3, appendedMs: [ago(5 * DAY_MS), ago(1)] },
    { startOffset: 0, appendedMs: [ago(1)] },
    { startOffset: 7, appendedMs: [ago(REACH_MS), ago(1)] },
  ];
  await watch.look();
  expect(watch.warnings).toEqual([
    expect.stringMatching(
      /^source logins: its log has lost records in partition 0 that .* back 10d \(maxFuture/,
    ),
  ]);
  expect(lines).toHaveLength(1);
  // The same loss, further on.
  log.partitions[0]!.startOffset = 4;
  log.partitions[0]!.appendedMs.shift();
  await watch.look();
  expect(lines).toHaveLength(1);

  clock.advanceTo(NOW_MS + 9 * DAY_MS - 1);
  await watch.look();
  expect(watch.warnings).toHaveLength(1);
  clock.advanceTo(NOW_MS + 9 * DAY_MS);
  await watch.look();
  expect(watch.warnings).toEqual([]);
});

test('what a log has dropped as nobody needs it is no loss, also where little comes or nothing', async () => {
  log.partitions = [
    // The first record behind what was dropped came a while after it.
    { startOffset: 3, appendedMs: [ago(0.9 * REACH_MS + 1)] },
    { startOffset: 3, appendedMs: [] },
  ];
  await watch.look();
  expect(watch.warnings).toEqual([]);
  log.partitions[0]!.appendedMs = [ago(0.9 * REACH_MS)];
  await watch.look();
  expect(watch.warnings).toHaveLength(1);
});

test('a window without an old edge reaches everything that is gone, whatever the clock', async () => {
  begin(sourceOf('lifetime'), { clock: null });
  log.partitions = [
    { startOffset: 3, appendedMs: [] },
    { startOffset: 0, appendedMs: [] },
    { startOffset: 1, appendedMs: [ago(100 * DAY_MS)] },
  ];
  await watch.look();
  expect(watch.warnings).toEqual([
    expect.stringMatching(/in partitions 0, 2 that .* back to the first event/),
  ]);
});

test('on event time append times say nothing of what windows reach', async () => {
  begin(sourceOf('sliding'), { clock: null });
  log.partitions = [{ startOffset: 3, appendedMs: [ago(1)] }];
  await watch.look();
  expect(watch.warnings).toEqual([]);
});

test('a log that does not answer is as it was last seen', async () => {
  log.problems = ['topic t: retention.ms is 1'];
  await watch.look();
  log.failing = true;
  await watch.look();
  expect(watch.warnings).toEqual(['source logins, topic t: retention.ms is 1']);
  expect(lines).toHaveLength(1);
});
