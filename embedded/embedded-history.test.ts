/** Training sets from embedded logs of several partitions, and of which process the directory is meanwhile. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LogHistoryError } from '../archive/log-history.ts';
import { DirectoryLockedError } from '../engine/store/directory-lock.ts';
import {
  compileRepo,
  count,
  entity,
  featureService,
  featureView,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { LmdbLogs } from '../ingest/log/lmdb-logs.ts';
import { trainingSet, trainingSetFile } from '../offline/make-training-set.ts';
import { embeddedHistory } from './embedded-history.ts';
import { openEmbedded } from './runtime.ts';

const NOW_MS = Date.UTC(2026, 10, 30);

/** Without event ids: what tells a repeat is the record's stamp. */
const visits = streamSource({
  name: 'visits',
  columns: { at: timestamp(), card: string() },
  eventTime: 'at',
});
const card = entity('card');
const view = featureView({
  ...{ name: 'visits_of_card', source: visits, entity: card },
  features: { visits_1d: count().over('1d') },
});
const days = streamSource({ name: 'days', columns: { at: timestamp(), day: string() }, eventTime: 'at' });
const daily = featureView({
  ...{ name: 'days_of_day', source: days, entity: entity('day') },
  features: { n: count().over('1d') },
});
const repo = compileRepo([
  featureService({ name: 'cards', features: [view] }),
  featureService({ name: 'days', features: [daily] }),
]);

function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-history-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

interface Visit {
  readonly card: string;
  readonly stamp: string;
  readonly originOffset?: number;
}

async function logOf(dataDir: string, partitions: readonly (readonly Visit[])[]): Promise<void> {
  const logs = await LmdbLogs.open(join(dataDir, 'log'), { flush: false });
  const log = await logs.log('visits', partitions.length);
  for (const [partition, own] of partitions.entries()) {
    await log.append(
      own.map(({ card, stamp, originOffset }) => ({
        ...{ partition, stamp, appendedMs: NOW_MS, eventTimeMs: NOW_MS },
        ...(originOffset === undefined ? {} : { originOffset }),
        value: Buffer.from(card === '' ? 'no JSON' : JSON.stringify({ at: NOW_MS, card })),
      })),
    );
  }
  await logs.close();
}

function spineOf(dir: string): string {
  const spine = join(dir, 'spine.ndjson');
  writeFileSync(
    spine,
    ['a', 'b', 'c'].map((key) => `${JSON.stringify({ card: key, timestamp: NOW_MS })}\n`).join(''),
  );
  return spine;
}

test('all partitions count, a repeat of a record does not, and a replayed letter does once', async () => {
  const dir = temporary();
  const data = join(dir, 'data');
  await logOf(data, [
    [
      { card: 'a', stamp: '1' },
      { card: 'b', stamp: '2' },
      { card: 'a', stamp: '1' },
      { card: '', stamp: '3' },
    ],
    [
      { card: 'a', stamp: '4' },
      { card: 'b', stamp: '5', originOffset: 0 },
      { card: 'b', stamp: '5', originOffset: 0 },
    ],
  ]);
  const table = await trainingSet({
    ...{ repo, service: 'cards', spine: spineOf(dir), history: embeddedHistory({ dataDir: data }) },
    memoryBytes: 2 ** 29,
  });
  expect(table.toArray().map((row) => [row.card, Number(row.visits_1d)])).toEqual([
    ['a', 2],
    ['b', 2],
    ['c', 0],
  ]);
  expect(JSON.parse(table.schema.metadata.get('millrace.history')!)).toMatchObject({
    visits: {
      events: 6,
      log: {
        offsets: [
          [0, 4],
          [0, 3],
        ],
        gone: 0,
      },
    },
  });
});

test('another data directory is another history, also where the former was not read to its end', async () => {
  const dir = temporary();
  const [first, second] = [join(dir, 'first'), join(dir, 'second')];
  await logOf(first, [[{ card: 'a', stamp: '1' }]]);
  await logOf(second, [
    [
      { card: 'b', stamp: '1' },
      { card: 'b', stamp: '2' },
    ],
  ]);
  const spine = spineOf(dir);
  const out = join(dir, 'out.csv');
  const train = (dataDir: string, signal?: AbortSignal) =>
    trainingSetFile({
      ...{ repo, service: 'cards', spine, out, memoryBytes: 2 ** 29 },
      history: embeddedHistory({ dataDir, ...(signal === undefined ? {} : { signal }) }),
    });
  const stop = AbortSignal.abort(new Error('stopped'));
  await expect(train(first, stop)).rejects.toThrow('stopped');
  expect(existsSync(`${out}.work/history-log`)).toBe(true);
  expect((await train(second)).resumed).toBe(false);
  expect(
    readFileSync(out, 'utf8')
      .split('\n')
      .map((line) => line.split(',').at(-1)),
  ).toEqual(['visits_1d', '0', '2', '0', '']);
});

test('the directory is taken while its log is read, and free afterwards', async () => {
  const dir = temporary();
  const data = join(dir, 'data');
  await logOf(data, [[{ card: 'a', stamp: '1' }]]);
  let opened: Promise<unknown> | null = null;
  const history = embeddedHistory({
    dataDir: data,
    onProgress: () => {
      opened ??= openEmbedded({ repo, dataDir: data }).catch((error: unknown) => error);
    },
  });
  await history.writeTo(join(dir, 'files'), [repo.sources.get('visits')!]);
  const refused = await opened!;
  expect(refused).toBeInstanceOf(DirectoryLockedError);
  expect((refused as DirectoryLockedError).directory).toBe(data);
  await (await openEmbedded({ repo, dataDir: data })).close();
});

test('a source whose columns an archive cannot have is refused, with what to do', async () => {
  const dir = temporary();
  const data = join(dir, 'data');
  const logs = await LmdbLogs.open(join(data, 'log'));
  await logs.log('days', 1);
  await logs.close();
  const taken = embeddedHistory({ dataDir: data }).writeTo(join(dir, 'files'), [repo.sources.get('days')!]);
  await expect(taken).rejects.toThrow(LogHistoryError);
  await expect(taken).rejects.toThrow(
    "its column 'day' has the name of a column of the archive: give its events as files",
  );
});
