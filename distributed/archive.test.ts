/**
 * Processes that archive the same topic into one directory, and come and go: each record is there once. What this does not show:
 * processes that are killed (test/archive-kills.test.ts), and those that are stopped amidst a commit (archive/archive-owners.test.ts).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { describeWithServices } from '../services/index.ts';
import { linesOf, type TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const PARTITIONS = 4;
const ROUNDS = 6;
const DAY_MS = 86_400_000;

describeWithServices(['kafka', 'redis'], `the archive over Kafka (TEST_SEED=${SEED})`, () => {
  const { open } = testDeployments();

  async function archiveDirectory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    return directory;
  }

  /** Payments on every partition, one of which cannot be used. @returns ids of those that can */
  async function produce(deployment: TestDeployment, count: number, random: SeededRandom): Promise<string[]> {
    const ids: string[] = [];
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const payments = Array.from({ length: count }, () =>
        payment({ at: NOON_MS - random.below(3) * DAY_MS }),
      );
      ids.push(...payments.map(({ id }) => String(id)));
      const records = payments.map((event) => ({ value: JSON.stringify(event) }));
      records.splice(random.below(count), 0, { value: 'no JSON' });
      await deployment.produce('payments', partition, records);
    }
    return ids;
  }

  const sum = async (processes: readonly TestProcess[], name: string): Promise<number> => {
    const values = await Promise.all(
      processes.map((process) => process.metric(name, { source: 'payments' })),
    );
    return values.reduce((total, value) => total + value, 0);
  };

  test('two processes, and others that come and go: every record once', async () => {
    const random = new SeededRandom(SEED);
    const directory = await archiveDirectory();
    const query = await ArchiveQuery.open();
    const deployment = await open({ partitions: PARTITIONS });
    const archive = { directory, everyMs: 1_000 };
    const start = () => deployment.start(['ingest'], { archive });
    const processes = [await start(), await start()];
    const ids: string[] = [];
    let rows = 0;
    for (let round = 0; round < ROUNDS; round++) {
      ids.push(...(await produce(deployment, 50, random)));
      // Whoever comes or goes has it shared out anew, while some is read and not committed.
      deployment.clock.advanceTo(deployment.clock.nowMs() + 600);
      if (round % 2 === 0) processes.push(await start());
      else {
        const [gone] = processes.splice(random.below(processes.length), 1);
        rows += await gone!.metric('millrace_archive_rows_total', { source: 'payments' });
        await gone!.close();
      }
      const positions = await query.positions(directory, 'payments');
      expect(new Set(positions).size).toBe(positions.length);
    }
    await until('all is archived', async () => {
      deployment.clock.advanceTo(deployment.clock.nowMs() + 1_000);
      const found = await query.positions(directory, 'payments');
      return found.length === ids.length && (await sum(processes, 'millrace_archive_lag_records')) === 0;
    });
    const found = await query.rows(directory, 'payments');
    expect(found.map(({ id }) => id).sort()).toEqual(ids.sort());
    const ends = await deployment.ends('payments');
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const own = found
        .filter(({ _partition }) => _partition === partition)
        .map(({ _offset }) => Number(_offset));
      expect(new Set(own).size).toBe(own.length);
      // One a round is a dead letter.
      expect(own.length).toBe(ends[partition]! - ROUNDS);
    }
    rows += await sum(processes, 'millrace_archive_rows_total');
    // What a process commits on its way out is not counted any more, nor what another has published for it.
    expect(rows).toBeLessThanOrEqual(ids.length);
    expect(rows).toBeGreaterThan(0);
    expect(await sum(processes, 'millrace_archive_errors_total')).toBe(0);
    expect(await sum(processes, 'millrace_events_applied_total')).toBe(0);
  });

  test('records that the topic has lost while nobody archived are a gap, told and passed', async () => {
    const directory = await archiveDirectory();
    const query = await ArchiveQuery.open();
    const deployment = await open({ partitions: 1 });
    const send = (ids: readonly string[]) =>
      deployment.produce(
        'payments',
        0,
        ids.map((id) => ({ value: JSON.stringify(payment({ id })) })),
      );
    const archive = { directory, everyMs: 1_000 };
    await send(['a', 'b']);
    const first = await deployment.start(['ingest'], { archive });
    await until('the first are archived', async () => {
      deployment.clock.advanceTo(deployment.clock.nowMs() + 1_000);
      return (await query.positions(directory, 'payments')).length === 2;
    });
    await first.close();

    await send(['c', 'd', 'e']);
    const topic = deployment.topicOf('payments');
    await deployment.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] });
    const { logger, lines } = linesOf('error');
    const second = await deployment.start(['ingest'], { archive, logger });
    await until('what is left is archived', async () => {
      deployment.clock.advanceTo(deployment.clock.nowMs() + 1_000);
      return (await query.positions(directory, 'payments')).length === 3;
    });
    expect((await query.rows(directory, 'payments')).map(({ id }) => id)).toEqual(['a', 'b', 'e']);
    expect(await second.metric('millrace_archive_gap_records_total', { source: 'payments' })).toBe(2);
    const said = lines.find(({ msg }) => msg === 'records were gone before they were archived');
    expect(said).toMatchObject({ source: 'payments', partition: 0, fromOffset: 2, toOffset: 4 });
  });
});
