/**
 * `millrace training-set --history kafka|log` as a process: the same as from a file of the events, also after kills and
 * signals; a clear refusal where there is no log to be read.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import { LmdbLogs } from '../ingest/log/lmdb-logs.ts';
import { describeWithServices, sharedServices } from '../services/index.ts';
import {
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  postJson,
  temporaryDirectory,
  up,
} from './millrace-process.ts';
import { kafkaClient } from './topic-content.ts';

const BASE_MS = Date.UTC(2026, 10, 1);
const WAIT_MS = 60_000;

interface Trade {
  readonly id: number;
  readonly at: number;
  readonly account: string;
  readonly symbol: string;
  readonly amount: number;
}

const trade = (id: number): Trade => ({
  ...{ id, at: BASE_MS + ((id * 7_919) % 90_000_000), account: `account ${(id * 31) % 97}` },
  ...{ symbol: `s${id % 13}`, amount: (id % 1_000) / 8 },
});
const tradesFrom = (from: number, to: number): Trade[] =>
  Array.from({ length: to - from }, (_, i) => trade(from + i));

/** A folder with a spine, and a file of trades. */
function folderOf(trades: readonly Trade[]): { dir: string; file: string; args: readonly string[] } {
  const dir = temporaryDirectory();
  const file = join(dir, 'trades.csv');
  const rows = trades.map((row) => [row.id, row.at, row.account, row.symbol, row.amount].join(','));
  writeFileSync(file, `id,at,account,symbol,amount\n${rows.join('\n')}\n`);
  const spine = Array.from(
    { length: 200 },
    (_, i) => `account ${i % 100},${BASE_MS + ((i * 15_485_863) % 95_000_000)}`,
  );
  writeFileSync(join(dir, 'spine.csv'), `account,timestamp\n${spine.join('\n')}\n`);
  const args = [
    ...['training-set', '--features', fixture('trades'), '--service', 'one', '--threads', '1'],
    ...['--memory', '512MiB', '--spine', join(dir, 'spine.csv')],
  ];
  return { dir, file, args };
}

/** What the command makes of the file. */
async function twin(args: readonly string[], dir: string, file: string): Promise<string> {
  const out = join(dir, 'twin.csv');
  const made = await millrace([...args, '--history', file, '--out', out]);
  expect(made.code, made.stderr).toBe(0);
  return readFileSync(out, 'utf8');
}

/** Files of the log's events so far. */
function filesIn(work: string): number {
  const folder = join(work, 'history-log', 'source=trades');
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.parquet')).length;
}

/** As an engine that was stopped leaves it. */
async function fillLog(dataDir: string, trades: readonly Trade[]): Promise<void> {
  const logs = await LmdbLogs.open(join(dataDir, 'log'), { flush: false });
  const log = await logs.log('trades', 1);
  for (let at = 0; at < trades.length; at += 5_000) {
    await log.append(
      trades.slice(at, at + 5_000).map((event) => ({
        ...{ partition: 0, appendedMs: BASE_MS + 2 * 86_400_000, stamp: null, eventTimeMs: event.at },
        value: Buffer.from(JSON.stringify(event)),
      })),
    );
  }
  await logs.close();
}

describe('millrace training-set --history log', () => {
  it('is what was pushed; while the engine runs it is refused', { timeout: 120_000 }, async () => {
    const trades = tradesFrom(0, 500);
    const { dir, file, args } = folderOf(trades);
    const data = join(dir, 'data');
    const engine = await up(['--features', fixture('trades'), '--data-dir', data]);
    for (const part of [trades.slice(0, 300), trades.slice(300), trades.slice(0, 50)]) {
      const { status } = await postJson(`${engine.url}/v1/sources/trades/events`, { events: part });
      expect(status).toBe(200);
    }
    const train = [...args, '--history', 'log', '--data-dir', data, '--out', join(dir, 'log.csv')];
    const refused = await millrace(train);
    expect(refused.stderr).toContain(
      `${data} is in use: process ${engine.process.child.pid} has it open, and its log can be read by one process only. ` +
        'Stop the engine while it is read; or start it with --archive DIR, and take that folder as history',
    );
    expect(refused.code).toBe(1);
    await engine.process.end('SIGTERM');

    const made = await millrace(train);
    expect(made.code, made.stderr).toBe(0);
    expect(readFileSync(join(dir, 'log.csv'), 'utf8')).toBe(await twin(args, dir, file));
    // The directory is as it was: an engine goes on with it.
    const again = await up(['--features', fixture('trades'), '--data-dir', data]);
    await again.process.end('SIGTERM');
    expect(readdirSync(dir).filter((name) => /work/.test(name))).toEqual([]);
  });

  it('killed and stopped in the midst it goes on, to the end that the log had at first', {
    timeout: 240_000,
  }, async () => {
    const trades = tradesFrom(0, 320_000);
    const { dir, file, args } = folderOf(trades);
    const data = join(dir, 'data');
    await fillLog(data, trades);
    const out = join(dir, 'log.csv');
    const train = [...args, '--history', 'log', '--data-dir', data, '--out', out];
    const run = (): MillraceProcess => new MillraceProcess(process.execPath, [millraceBinary, ...train]);
    const untilFiles = (process: MillraceProcess, least: number): Promise<void> =>
      vi.waitFor(
        () => expect(process.child.exitCode !== null || filesIn(`${out}.work`) >= least).toBe(true),
        { timeout: WAIT_MS, interval: 2 },
      );

    const first = run();
    await untilFiles(first, 1);
    expect((await first.end('SIGKILL')).signal).toBe('SIGKILL');
    const files = filesIn(`${out}.work`);
    expect(files).toBeGreaterThan(0);
    expect(existsSync(out)).toBe(false);

    // An engine has run in between.
    await fillLog(data, tradesFrom(320_000, 330_000));
    const second = run();
    await untilFiles(second, files + 1);
    expect(await second.end('SIGTERM')).toEqual({ code: 143, signal: null });
    expect(second.stderr).toMatch(/stopped; the same command goes on from here\n$/);
    const query = await ArchiveQuery.open();
    const kept = await query.positions(join(`${out}.work`, 'history-log'), 'trades');
    expect(new Set(kept).size).toBe(kept.length);

    const third = await millrace(train);
    expect(third.code, third.stderr).toBe(0);
    expect(third.stdout).toContain('going on with what another run had done');
    expect(readFileSync(out, 'utf8')).toBe(await twin(args, dir, file));
    const metadata = JSON.parse(readFileSync(`${out}.metadata.json`, 'utf8'));
    expect(JSON.parse(metadata['millrace.history'])).toMatchObject({
      trades: { events: 320_000, log: { offsets: [[0, 320_000]], gone: 0 } },
    });
    // Begun anew, it has what came in between.
    const anew = await millrace([...train.slice(0, -1), join(dir, 'anew.csv')]);
    expect(anew.code, anew.stderr).toBe(0);
    const later = JSON.parse(readFileSync(join(dir, 'anew.csv.metadata.json'), 'utf8'));
    expect(JSON.parse(later['millrace.history']).trades.events).toBe(330_000);
  });

  it('says where there is no log, or none of the source, and makes none', async () => {
    const { dir, args } = folderOf([]);
    const out = ['--out', join(dir, 'log.csv')];
    const nowhere = join(dir, 'nowhere');
    const none = await millrace([...args, ...out, '--history', 'log', '--data-dir', nowhere]);
    expect(none.stderr).toBe(
      `millrace: there is no embedded log in ${nowhere}: name the data directory of an engine (--data-dir)\n`,
    );
    expect(none.code).toBe(1);
    expect(existsSync(nowhere)).toBe(false);
    const data = join(dir, 'data');
    const logs = await LmdbLogs.open(join(data, 'log'));
    await (await logs.log('others', 1)).close();
    await logs.close();
    const other = await millrace([...args, ...out, '--history', 'log', '--data-dir', data]);
    expect(other.stderr).toContain(`the embedded log in ${data} has no source trades`);
    expect(other.code).toBe(1);
    const again = await LmdbLogs.open(join(data, 'log'));
    expect(await again.existingLog('trades')).toBeNull();
    await again.close();
    // A folder of that name is named with its place.
    const folder = await millrace([...args, ...out, '--history', './log'], { cwd: dir });
    expect(folder.stderr).toContain('./log: there is no such file');
  });
});

describeWithServices(['kafka'], 'millrace training-set --history kafka', () => {
  it('is what the topic holds, beside a file for another source; SIGINT leaves it to be gone on with', async () => {
    const brokers = await sharedServices().kafka();
    const id = `training-${randomUUID()}`;
    const topic = `${id}.trades`;
    const kafka = kafkaClient(brokers);
    const admin = kafka.admin();
    const producer = kafka.producer();
    await Promise.all([admin.connect(), producer.connect()]);
    onTestFinished(async () => {
      await admin.deleteTopics({ topics: [topic] }).catch(() => {});
      await Promise.all([admin.disconnect(), producer.disconnect()]);
    });
    await admin.createTopics({ topics: [{ topic, numPartitions: 4 }] });
    const trades = tradesFrom(0, 60_000);
    const produce = async (events: readonly Trade[]): Promise<void> => {
      for (let at = 0; at < events.length; at += 5_000) {
        const messages = events.slice(at, at + 5_000).map((event) => ({
          ...{ value: JSON.stringify(event), partition: event.id % 4 },
          timestamp: String(BASE_MS + 2 * 86_400_000),
        }));
        await producer.send({ topic, messages });
      }
    };
    await produce(trades);
    await producer.send({ topic, messages: [{ value: 'no JSON', partition: 2 }] });

    const { dir, file, args } = folderOf(trades);
    const out = join(dir, 'kafka.csv');
    const quotes = join(dir, 'quotes.csv');
    writeFileSync(quotes, `quote,quoted_at,symbol,price\n1,${BASE_MS},s1,2.5\n`);
    const spine = join(dir, 'both.csv');
    writeFileSync(
      spine,
      `account,symbol,lots,note,timestamp\naccount 3,s1,2,,${BASE_MS + 80_000_000}\naccount 4,s2,1,,${BASE_MS + 9_000_000}\n`,
    );
    const both = [...args.slice(0, 4), 'both', ...args.slice(5, -1), spine, '--history', `quotes=${quotes}`];
    const env = { TEST_TOPICS: id };
    const train = [
      ...both,
      ...['--history', 'trades=kafka', '--kafka', brokers.join(','), '--group', `g-${id}`, '--out', out],
    ];

    const stopped = new MillraceProcess(process.execPath, [millraceBinary, ...train], { env });
    await vi.waitFor(
      () => expect(existsSync(join(`${out}.work`, 'history-log/_archive/trades/snapshot.json'))).toBe(true),
      { timeout: WAIT_MS, interval: 2 },
    );
    expect(await stopped.end('SIGINT')).toEqual({ code: 130, signal: null });
    expect(stopped.stderr).toMatch(/stopped; the same command goes on from here\n$/);
    expect(existsSync(out)).toBe(false);
    await produce(tradesFrom(60_000, 61_000));

    const made = await millrace(train, { env });
    expect(made.code, made.stderr).toBe(0);
    const twinOut = join(dir, 'both-twin.csv');
    const ofFiles = await millrace([...both, '--history', `trades=${file}`, '--out', twinOut]);
    expect(ofFiles.code, ofFiles.stderr).toBe(0);
    expect(readFileSync(out, 'utf8')).toBe(readFileSync(twinOut, 'utf8'));
    expect(made.stdout).toContain(
      '1 records of the log of trades are no events of it and do not count (undecodable)',
    );
    const { groups } = await admin.listGroups();
    expect(groups.filter(({ groupId }) => groupId.includes(id))).toEqual([]);
  }, 180_000);

  it.each([
    [[], 'kafka: the brokers are missing (--kafka HOST:PORT)'],
    [['--kafka', '127.0.0.1:1'], 'no Kafka broker answers at 127.0.0.1:1'],
    [['--kafka', 'BROKERS'], 'there is no topic '],
  ] as const)('refuses %j', async (given, said) => {
    const brokers = (await sharedServices().kafka()).join(',');
    const { dir, args } = folderOf([]);
    const more = given.map((text) => (text === 'BROKERS' ? brokers : text));
    const { code, stdout, stderr } = await millrace(
      [...args, ...['--history', 'kafka', '--out', join(dir, 'kafka.csv'), ...more]],
      { env: { TEST_TOPICS: `none-${randomUUID()}` } },
    );
    expect(stderr).toContain(said);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });
});

it('a work folder holds what was read of the log only while it is needed', async () => {
  const trades = tradesFrom(0, 50);
  const { dir, args } = folderOf(trades);
  const data = join(dir, 'data');
  await fillLog(data, trades);
  const work = join(dir, 'work');
  const made = await millrace([
    ...args,
    ...['--history', 'log', '--data-dir', data, '--work', work, '--out', join(dir, 'o.parquet')],
  ]);
  expect(made.code, made.stderr).toBe(0);
  expect(existsSync(work)).toBe(false);
  expect(statSync(join(dir, 'o.parquet')).size).toBeGreaterThan(0);
});
