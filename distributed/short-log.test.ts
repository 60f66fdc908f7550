/** Ends of a log below watermarks: which of them mean that the log has lost what was applied. */
import { expect, test } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { LogPositions } from './log-positions.ts';

const source = testRepo.sources.get('payments')!;

/** @param beforeStoreIsRead what happens between the log's ends and the watermarks of a look; returns the watermark */
function lookingAt(log: MemoryEventLog, beforeStoreIsRead: () => Promise<readonly number[]>) {
  const clock = new ManualClock(NOON_MS);
  const progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
  const newToken = randomTokens();
  const watermark = {
    token: newToken(),
    maxEventTimeMs: -1,
    appendedMs: NOON_MS,
    clockMs: 0,
    logIdentity: '',
  };
  const positions = new LogPositions({
    sources: [{ source, log, ingest: () => null }],
    store: {
      look: async (shard, names) => {
        const nextOffset = (await beforeStoreIsRead())[shard]!;
        return { mark: null, watermarks: names.map(() => ({ ...watermark, nextOffset })) };
      },
    },
    shards: 2,
    bindings: new ViewBindings({
      views: source.views,
      store: new MemoryTileStore({ random: () => 'one' }),
      clock,
      newToken,
    }),
    progress,
    gaps: new OpenGaps(),
    eventClock: null,
    clock,
    idleMs: 1,
    awaitedMs: 1,
    beforeLook: async () => {},
    onError: () => {},
  });
  return { positions, progress };
}

const memoryLog = () => new MemoryEventLog({ source: 'payments', partitions: 1, random: () => 'log' });
const append = (log: MemoryEventLog) =>
  log.append([
    { partition: 0, appendedMs: NOON_MS, stamp: null, eventTimeMs: NOON_MS, value: Buffer.from('{}') },
  ]);

test('watermarks that moved since the ends were read mean nothing', async () => {
  const log = memoryLog();
  let end = 0;
  const { positions, progress } = lookingAt(log, async () => {
    end = (await append(log))[0]! + 1;
    return [end, end];
  });
  for (let look = 0; look < 3; look++) {
    await positions.look();
    expect(progress.shortLogs()).toEqual([]);
    expect(progress.isCatchingUp(source.views[0]!)).toBe(false);
  }
});

test('an end below what some shard had applied before it was read does, for as long as it is there', async () => {
  const log = memoryLog();
  for (let i = 0; i < 5; i++) await append(log);
  // Another shard is behind: what counts is that the log had the record.
  const { positions, progress } = lookingAt(log, async () => [0, 5]);
  await positions.look();
  log.recreate(0);
  await append(log);
  await positions.look();
  expect(progress.shortLogs()).toEqual([{ source: 'payments', partition: 0, endOffset: 1, nextOffset: 5 }]);
  for (let i = 0; i < 4; i++) await append(log);
  await positions.look();
  expect(progress.shortLogs()).toEqual([]);
});
