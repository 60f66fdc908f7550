/**
 * `millrace training-set` as a process: stopped and killed at any moment it goes on, to the same values; two at once keep off
 * each other; full disks are told.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { SeededRandom } from '../engine/testing/random.ts';
import { DuckDb, text } from '../offline/duckdb.ts';
import {
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  temporaryDirectory,
} from './millrace-process.ts';
import { describeWithSmallDisks, SmallDisks } from './small-disks.ts';

const BASE_MS = 1_700_000_000_000;

interface Inputs {
  readonly dir: string;
  readonly args: readonly string[];
}

/** Histories and a spine of deterministic rows, some of them without keys or refused. */
async function inputsOf(
  { events, rows }: { events: number; rows: number },
  dir = temporaryDirectory(),
): Promise<Inputs> {
  const copy = (name: string, sql: string): string =>
    `COPY (${sql}) TO ${text(join(dir, name))} (FORMAT parquet)`;
  const db = await DuckDb.open({ memoryBytes: 2 ** 29, threads: 2, spillDir: dir });
  try {
    await db.run(
      copy(
        'trades.parquet',
        `SELECT CAST(i AS BIGINT) AS id, CAST(${BASE_MS} + (i * 7919) % 90000000 AS BIGINT) AS at, 'account ' || (i * 31 % 977) AS account,
           's' || (i % 13) AS symbol, (i % 1000) / 8 AS amount FROM range(${events}) t(i)`,
      ),
    );
    await db.run(
      copy(
        'quotes.parquet',
        `SELECT CAST(i AS BIGINT) AS quote, CAST(${BASE_MS} + (i * 104729) % 90000000 AS BIGINT) AS quoted_at, 's' || (i % 13) AS symbol,
           (i % 500) / 4 AS price FROM range(${Math.ceil(events / 10)}) t(i)`,
      ),
    );
    await db.run(
      copy(
        'spine.parquet',
        `SELECT CAST(i AS BIGINT) AS label, CASE WHEN i % 50 = 0 THEN NULL ELSE 'account ' || (i * 17 % 1000) END AS account,
           CASE WHEN i % 70 = 0 THEN NULL ELSE 's' || (i % 14) END AS symbol,
           CAST(${BASE_MS} + (i * 15485863) % 95000000 AS BIGINT) AS timestamp,
           CAST(CASE WHEN i % 100 = 1 THEN -1 ELSE i % 5 END AS BIGINT) AS lots, CASE WHEN i % 2 = 0 THEN 'note' END AS note
         FROM range(${rows}) t(i)`,
      ),
    );
  } finally {
    db.close();
  }
  return {
    dir,
    args: [
      ...['training-set', '--features', fixture('trades'), '--service', 'both', '--threads', '2'],
      ...[
        '--history',
        `trades=${join(dir, 'trades.parquet')}`,
        '--history',
        `quotes=${join(dir, 'quotes.parquet')}`,
      ],
      ...['--spine', join(dir, 'spine.parquet')],
    ],
  };
}

const trainingSet = (args: readonly string[]): MillraceProcess =>
  new MillraceProcess(process.execPath, [millraceBinary, ...args]);

const leftovers = (dir: string): string[] => readdirSync(dir).filter((name) => /work|part|tmp/.test(name));

/** Resolves once the process has done that many rows of a view, or has ended. */
async function untilRows(run: MillraceProcess, work: string, bytes: number): Promise<void> {
  const grown = (): boolean => run.child.exitCode !== null || sizeOf(work) >= bytes;
  await vi.waitFor(() => expect(grown()).toBe(true), { timeout: 30_000, interval: 5 });
}

function sizeOf(work: string): number {
  let bytes = 0;
  for (const name of ['work.duckdb', 'work.duckdb.wal', 'training-set.json']) {
    bytes += statSync(join(work, name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}

let big: Inputs;
let whole: string;
/** As much as its work folder had at most. */
let workBytes = 0;

describe('a training set that is stopped', () => {
  beforeAll(async () => {
    big = await inputsOf({ events: 60_000, rows: 140_000 }, mkdtempSync(join(tmpdir(), 'millrace-test-')));
    const out = join(big.dir, 'whole.csv');
    const run = spawn(process.execPath, [millraceBinary, ...big.args, '--out', out], { stdio: 'ignore' });
    const watch = setInterval(() => {
      workBytes = Math.max(workBytes, sizeOf(`${out}.work`));
    }, 5);
    const [code] = (await once(run, 'exit')) as [number];
    clearInterval(watch);
    expect(code).toBe(0);
    whole = readFileSync(out, 'utf8');
    expect(whole.split('\n').length).toBe(140_002);
  });

  afterAll(() => rmSync(big.dir, { recursive: true, force: true }));

  it('leaves nothing but the file and its metadata once it is made', () => {
    expect(leftovers(big.dir)).toEqual([]);
    expect(existsSync(join(big.dir, 'whole.csv.metadata.json'))).toBe(true);
  });

  it('goes on after kills at any moment, to the same bytes', async () => {
    const random = new SeededRandom(20_261);
    const out = join(big.dir, 'killed.csv');
    let killed = 0;
    let resumed = '';
    for (let n = 0; n < 4; n++) {
      const run = trainingSet([...big.args, '--out', out]);
      // By how much was written: where that is not reached again, it runs to its end.
      await untilRows(run, `${out}.work`, random.below(workBytes * 0.9));
      const { signal } = await run.end('SIGKILL');
      if (signal === null) {
        resumed = run.stdout;
        break;
      }
      killed++;
      expect(existsSync(out)).toBe(false);
    }
    if (resumed === '') {
      const last = trainingSet([...big.args, '--out', out]);
      expect(await last.exited, last.stderr).toMatchObject({ code: 0 });
      resumed = last.stdout;
    }
    expect(killed).toBeGreaterThan(1);
    expect(resumed).toContain('going on with what another run had done');
    expect(readFileSync(out, 'utf8') === whole).toBe(true);
    expect(leftovers(big.dir)).toEqual([]);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('by %s says that it can go on', async (signal, code) => {
    const out = join(big.dir, `${signal}.csv`);
    const run = trainingSet([...big.args, '--out', out]);
    await untilRows(run, `${out}.work`, workBytes / 2);
    expect(await run.end(signal)).toEqual({ code, signal: null });
    expect(run.stderr).toMatch(/stopped; the same command goes on from here\n$/);
    expect(existsSync(`${out}.work`)).toBe(true);
    if (signal === 'SIGTERM') return;
    const again = trainingSet([...big.args, '--out', out]);
    expect(await again.exited, again.stderr).toMatchObject({ code: 0 });
    expect(again.stdout).toContain('going on with what another run had done');
    expect(readFileSync(out, 'utf8') === whole).toBe(true);
  });

  it('begins anew where an input was changed meanwhile', async () => {
    const out = join(big.dir, 'changed.csv');
    const spine = join(big.dir, 'changed-spine.parquet');
    copyFileSync(join(big.dir, 'spine.parquet'), spine);
    const args = [...big.args.slice(0, -1), spine, '--out', out];
    const run = trainingSet(args);
    await untilRows(run, `${out}.work`, workBytes / 2);
    await run.end('SIGKILL');
    utimesSync(spine, new Date(BASE_MS), new Date(BASE_MS));
    const again = trainingSet(args);
    expect(await again.exited, again.stderr).toMatchObject({ code: 0 });
    expect(again.stdout).not.toContain('going on');
    expect(readFileSync(out, 'utf8') === whole).toBe(true);
  });

  it('and a second process on its work folder: it is told, whatever it was given, and the first goes on', async () => {
    const out = join(big.dir, 'first.csv');
    const first = trainingSet([...big.args, '--out', out]);
    await untilRows(first, `${out}.work`, workBytes / 4);
    // It is not done before the others have come.
    first.child.kill('SIGSTOP');
    onTestFinished(() => void first.child.kill('SIGCONT'));
    const other = [...big.args.slice(0, 4), 'one', ...big.args.slice(5, 9), ...big.args.slice(11)];
    for (const args of [big.args, other]) {
      const { code, stderr } = await millrace([
        ...args,
        '--out',
        join(big.dir, 'second.csv'),
        '--work',
        `${out}.work`,
      ]);
      expect(stderr).toContain(
        `${out}.work: another process is at work there: wait for it, or name another folder (--work)`,
      );
      expect(code).toBe(1);
    }
    first.child.kill('SIGCONT');
    expect(await first.exited, first.stderr).toMatchObject({ code: 0 });
    expect(readFileSync(out, 'utf8') === whole).toBe(true);
  });
});

describe('a work folder', () => {
  it('that belongs to something else is left alone', async () => {
    const { dir, args } = await inputsOf({ events: 100, rows: 10 });
    const work = join(dir, 'precious');
    mkdirSync(work);
    for (const name of ['inputs.json', 'training-set.json', 'work.duckdb']) {
      writeFileSync(join(work, 'thesis.txt'), 'years of work');
      writeFileSync(join(work, name), '{}');
      const { code, stderr } = await millrace([...args, '--out', join(dir, 'out.parquet'), '--work', work]);
      expect(stderr).toContain(
        `${work} is there and not a work folder of a training set: name another (--work), or remove it`,
      );
      expect(code).toBe(1);
      expect(readdirSync(work)).toContain('thesis.txt');
    }
  });

  it('that is empty is taken', async () => {
    const { dir, args } = await inputsOf({ events: 100, rows: 10 });
    const work = join(dir, 'empty');
    mkdirSync(work);
    const { code, stderr } = await millrace([...args, '--out', join(dir, 'out.parquet'), '--work', work]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
  });

  it('whose database is damaged is told', async () => {
    const { dir, args } = await inputsOf({ events: 100, rows: 200 });
    const out = join(dir, 'out.parquet');
    // A folder stands where the file is to be: the work is done, and left.
    mkdirSync(`${out}.part`);
    const failed = await millrace([...args, '--out', out]);
    expect(failed.code).not.toBe(0);
    for (const name of ['work.duckdb', 'work.duckdb.wal'])
      if (existsSync(join(`${out}.work`, name))) writeFileSync(join(`${out}.work`, name), 'x'.repeat(20_000));
    const { code, stderr } = await millrace([...args, '--out', out]);
    expect(stderr).toMatch(/work.duckdb cannot be gone on with: remove the folder, and begin anew/);
    expect(code).toBe(1);
  });
});

describe('what it says', () => {
  it('of what did not count, and how many rows of each view', async () => {
    const { dir, args } = await inputsOf({ events: 1_000, rows: 700 });
    const { code, stdout, stderr } = await millrace([...args, '--out', join(dir, 'out.arrow')]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toContain('14 rows have no account: their features of it are null');
    expect(stdout).toContain('10 rows have no symbol: their features of it are null');
    expect(stdout).toMatch(/trades_of_account +686 /);
    expect(stdout).toMatch(/worth could not be computed for \d+ rows: it is null there/);
  });

  it.each([
    [['--memory', '100MiB'], 'It must be a size such as 2GB or 512MiB, 512MiB at least.'],
    [['--threads', '0'], 'It must be a whole number from 1 to 256.'],
    [['--history', 'trades=x'], 'trades is given twice.'],
    [['--history', 'x'], 'Where there are several, each must be SOURCE=PATH.'],
    [['--service', 'botj'], "there is no service 'botj'; did you mean 'both'? (there are both, one)"],
    [['--spine', '/no/such.csv'], '/no/such.csv: there is no such file'],
  ])('of %j', async (more, said) => {
    const { dir, args } = await inputsOf({ events: 10, rows: 10 });
    const { code, stderr } = await millrace([...args, '--out', join(dir, 'out.csv'), ...more]);
    expect(stderr).toContain(said);
    expect(stderr).not.toContain('    at ');
    expect(code).toBe(1);
  });
});

describeWithSmallDisks('a full disk', () => {
  it.each(['work', 'out'])(
    'under the %s folder is told; with room the same command goes on',
    async (small) => {
      const inputs = await inputsOf({ events: 2_000, rows: 30_000 });
      const folders = { work: join(inputs.dir, 'w'), out: join(inputs.dir, 'o') };
      for (const folder of Object.values(folders)) mkdirSync(folder);
      const disk = folders[small as 'work' | 'out'];
      const disks = await SmallDisks.mount({ [disk]: '32m' });
      disks.fill(disk, 32 * 1_048_576 - 65_536);
      for (const format of small === 'out' ? ['csv', 'arrow'] : ['csv']) {
        const args = [
          ...inputs.args,
          '--work',
          join(folders.work, 'x'),
          '--out',
          join(folders.out, `o.${format}`),
        ];
        const run = disks.run(args);
        expect(await run.exited, run.stderr).toEqual({ code: 1, signal: null });
        expect(run.stderr).toMatch(
          /there is no room left for \S+ or \S+: make some, and the same command goes on/,
        );
        expect(readdirSync(disks.path(folders.out)).filter((name) => name.endsWith('.part'))).toEqual([]);
      }
      disks.free(disk);
      const args = [
        ...inputs.args,
        '--work',
        join(folders.work, 'x'),
        '--out',
        join(folders.out, 'o.parquet'),
      ];
      const again = disks.run(args);
      expect(await again.exited, again.stderr).toEqual({ code: 0, signal: null });
      expect(again.stdout).toContain('going on with what another run had done');
    },
  );
});
