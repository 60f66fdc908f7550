/** The archive beside the engine: it has what was accepted, and where it cannot be written, nobody else waits for it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { ArchiveColumnsError } from '../archive/archive-columns.ts';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import { linesOf } from '../distributed/testing/test-deployment.ts';
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
import { openEmbedded } from './runtime.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS, payment } from './testing/test-repo.ts';

const WAITED = { timeout: 30_000, interval: 50 };

let query: ArchiveQuery;
beforeAll(async () => {
  query = await ArchiveQuery.open();
});

async function temporary(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function openEngine(options: Parameters<typeof TestEngine.open>[0]): Promise<TestEngine> {
  const engine = await TestEngine.open(options);
  onTestFinished(() => engine.close());
  return engine;
}

async function metric(engine: TestEngine, name: string, source: string): Promise<number[]> {
  const { body } = await engine.get('/metrics');
  const lines = String(body)
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes(`"${source}"`));
  return lines.map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
}

const idsIn = async (directory: string): Promise<unknown[]> =>
  (await query.rows(directory, 'payments')).map(({ id }) => id);

test('what was pushed is in the archive when the engine is closed, once, also after restarts', async () => {
  const directory = join(await temporary(), 'archive');
  const engine = await openEngine({ archive: { directory }, partitions: 2 });
  const events = Array.from({ length: 30 }, (_, i) => payment({ id: `p${i}`, at: NOON_MS - i * 7_200_000 }));
  await engine.push('payments', events.slice(0, 10));
  await engine.restart();
  await engine.push('payments', events.slice(10));
  // Told at the door: not in the log.
  await engine.push('payments', events.slice(0, 10));
  await engine.push('clicks', [{ at: NOON_MS, card: 'c1', page: '/' }]);
  await vi.waitFor(async () => {
    await engine.restart();
    expect((await idsIn(directory)).sort()).toEqual(events.map(({ id }) => id).sort());
    expect(await query.rows(directory, 'clicks')).toHaveLength(1);
  }, WAITED);
});

test('metrics say what was archived, and how far behind the log it is', async () => {
  const directory = await temporary();
  const engine = await openEngine({ archive: { directory, everyMs: 60_000 } });
  await engine.push('payments', [payment({ id: 'a' }), payment({ id: 'b', at: NOON_MS - 86_400_000 })]);
  const lag = () => metric(engine, 'millrace_archive_lag_records', 'payments');
  await vi.waitFor(async () => expect(await lag()).toEqual([2]), WAITED);
  // The archive reads by itself, and is due by a clock that stands still.
  await vi.waitFor(async () => {
    engine.clock.advanceTo(engine.clock.nowMs() + 60_000);
    expect(await lag()).toEqual([0]);
  }, WAITED);
  expect(await metric(engine, 'millrace_archive_rows_total', 'payments')).toEqual([2]);
  expect(await metric(engine, 'millrace_archive_files_total', 'payments')).toEqual([2]);
  const [bytes] = await metric(engine, 'millrace_archive_bytes_total', 'payments');
  expect(bytes).toBeGreaterThan(1_000);
  expect(await metric(engine, 'millrace_archive_errors_total', 'payments')).toEqual([]);
});

test('a directory that cannot be used holds nobody up: a warning, and everything is archived once it can', async () => {
  const directory = join(await temporary(), 'archive');
  await writeFile(directory, 'in the way');
  const { logger, lines } = linesOf('info');
  const engine = await openEngine({ archive: { directory }, logger });
  await engine.push('payments', [payment({ id: 'a' })]);
  const read = await engine.read('card', { entities: { card: 'c1' } });
  expect(read.body.features.payments_1h).toBe(1);
  await vi.waitFor(async () => {
    const { status, body } = await engine.get('/readyz');
    expect(status).toBe(200);
    expect(body.warnings.join()).toContain('the archive of source payments, partition 0: EEXIST');
  }, WAITED);
  expect(await metric(engine, 'millrace_archive_paused', 'payments')).toEqual([1]);
  expect((await metric(engine, 'millrace_archive_errors_total', 'payments'))[0]).toBeGreaterThan(0);
  expect(lines.map(({ msg }) => msg)).toContain('a partition could not be archived; it is tried again');

  await rm(directory);
  await vi.waitFor(async () => expect((await engine.get('/readyz')).body.warnings).toEqual([]), WAITED);
  expect(await metric(engine, 'millrace_archive_paused', 'payments')).toEqual([0]);
  await vi.waitFor(async () => {
    await engine.restart();
    expect(await idsIn(directory)).toEqual(['a']);
  }, WAITED);
});

test('a source whose columns cannot be archived is refused, and the data directory is free again', async () => {
  const visits = streamSource({
    name: 'visits',
    columns: { at: timestamp(), day: string() },
    eventTime: 'at',
  });
  const view = featureView({
    name: 'v',
    source: visits,
    entity: entity('day'),
    features: { n: count().over('1d') },
  });
  const repo = compileRepo([featureService({ name: 's', features: [view] })]);
  const directory = await temporary();
  const dataDir = join(directory, 'data');
  await expect(openEmbedded({ repo, dataDir, archive: { directory } })).rejects.toThrow(ArchiveColumnsError);
  await (await openEmbedded({ repo, dataDir })).close();
});
