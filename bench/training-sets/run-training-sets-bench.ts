/**
 * Training sets of `card_fraud` against DuckDB's own window query for the same features: whole processes, files in and out,
 * in turns. And how the time grows with the history.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { textTable } from '../../cli/text-table.ts';
import { DuckDb, text } from '../../offline/duckdb.ts';
import { MEMORY_DEFAULT_BYTES } from '../../offline/memory-limits.ts';
import { formatRatio, type Ratio, ratioOf } from '../report.ts';

const PUBLISHED = fileURLToPath(new URL('../../../shared/data/card_transactions.csv.gz', import.meta.url));
const MILLRACE = fileURLToPath(new URL('../../bin/millrace.js', import.meta.url));
const QUERY = fileURLToPath(new URL('./window-query.ts', import.meta.url));
const USAGE = new URL('./report-usage.mjs', import.meta.url).href;
/** The days that values are published for; of generated payments as many. */
const DAYS = ['2018-04-10', '2018-05-23', '2018-05-31', '2018-06-07'];
const SIZES = [1 / 8, 1 / 4, 1 / 2, 1];

interface Measured {
  readonly ms: number;
  readonly cpuMs: number;
  readonly rssMb: number;
}

export interface TrainingSetsRow {
  readonly spine: string;
  readonly rows: number;
  readonly millrace: Measured;
  readonly duckdb: Measured;
  /** Of Millrace's figures to DuckDB's, round by round. */
  readonly time: Ratio;
  readonly cpu: Ratio;
  readonly memory: Ratio;
  /** Rows with equal values: counts identical, means within 1e-9. */
  readonly equal: number;
}

export interface TrainingSetsReport {
  readonly data: string;
  readonly events: number;
  readonly rows: readonly TrainingSetsRow[];
  readonly scaling: readonly { readonly events: number; readonly ms: number; readonly usPerEvent: number }[];
}

export async function runTrainingSetsBench(options: {
  /** Of the generated payments; the published ones are all taken. */
  readonly events: number;
  readonly seed: number;
  readonly rounds: number;
  /** Generated payments also where published ones are there. */
  readonly generated: boolean;
  readonly onProgress: (text: string) => void;
}): Promise<TrainingSetsReport> {
  const { events, seed, rounds, onProgress } = options;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const path = (name: string): string => join(dir, name);
  const db = await DuckDb.open({ memoryBytes: MEMORY_DEFAULT_BYTES, threads: 2, spillDir: path('spilled') });
  try {
    const published = !options.generated && existsSync(PUBLISHED);
    const payments = published ? `read_csv(${text(PUBLISHED)})` : generatedPayments(events, seed);
    const history = path('history.parquet');
    await db.run(
      `COPY (SELECT * FROM ${payments} ORDER BY transaction_id) TO ${text(history)} (FORMAT parquet)`,
    );
    const n = Number((await db.row(`SELECT count(*) AS n FROM ${text(history)}`)).n);
    const spineOf = async (name: string, where: string): Promise<string> => {
      const file = path(`${name}.parquet`);
      const columns = 'transaction_id, tx_datetime, customer_id, terminal_id';
      await db.run(
        `COPY (SELECT ${columns} FROM ${text(history)} WHERE ${where} ORDER BY 1) TO ${text(file)} (FORMAT parquet)`,
      );
      return file;
    };
    const ofDays = `strftime(tx_datetime, '%Y-%m-%d') IN (${DAYS.map(text).join(', ')})`;
    const spines = [
      ['four days', await spineOf('days', ofDays)],
      ['every event', await spineOf('events', 'true')],
    ] as const;
    const rows: TrainingSetsRow[] = [];
    for (const [spine, file] of spines) {
      const ours: Measured[] = [];
      const theirs: Measured[] = [];
      for (let round = 1; round <= rounds; round++) {
        onProgress(`${spine}: round ${round} of ${rounds}`);
        ours.push(trainingSetProcess(dir, { history, spine: file, out: path('ours.parquet') }));
        theirs.push(queryProcess(dir, { history, spine: file, out: path('theirs.parquet') }));
      }
      const of = (field: keyof Measured): Ratio =>
        ratioOf(
          ours.map((own) => own[field]),
          theirs.map((own) => own[field]),
        );
      rows.push({
        spine,
        rows: Number((await db.row(`SELECT count(*) AS n FROM ${text(file)}`)).n),
        ...{
          millrace: middle(ours),
          duckdb: middle(theirs),
          time: of('ms'),
          cpu: of('cpuMs'),
          memory: of('rssMb'),
        },
        equal: await equalRows(db, path('ours.parquet'), path('theirs.parquet')),
      });
    }
    const scaling: TrainingSetsReport['scaling'][number][] = [];
    for (const size of SIZES) {
      const count = Math.round(events * size);
      onProgress(`history of ${count} generated events`);
      const file = path('generated.parquet');
      await db.run(
        `COPY (SELECT * FROM ${generatedPayments(count, seed)}) TO ${text(file)} (FORMAT parquet)`,
      );
      const measured = Array.from({ length: rounds }, () =>
        trainingSetProcess(dir, { history: file, spine: file, out: path('ours.parquet'), prefix: 'f_' }),
      );
      const { ms } = middle(measured);
      scaling.push({ events: count, ms, usPerEvent: (ms * 1000) / count });
    }
    return {
      data: published ? 'published card payments' : `generated payments, seed ${seed}`,
      events: n,
      rows,
      scaling,
    };
  } finally {
    db.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** 75 days; a customer pays twice a day, a terminal is paid at once a day, as in the published data. */
function generatedPayments(events: number, seed: number): string {
  const random = (salt: number): string =>
    `(hash(i * 8 + ${salt} + ${seed} * 1000003) / 18446744073709551616.0)`;
  return `(SELECT i AS transaction_id,
      to_timestamp(floor(1522540800 + i * (75 * 86400.0 / ${events})) :: BIGINT) AS tx_datetime,
      CAST(floor(${random(1)} * ${Math.ceil(events / 145)}) AS BIGINT) AS customer_id,
      CAST(floor(${random(2)} * ${Math.ceil(events / 72)}) AS BIGINT) AS terminal_id,
      round(${random(3)} * 200, 2) AS tx_amount, CAST(${random(4)} < 0.008 AS BIGINT) AS tx_fraud
    FROM range(${events}) r(i))`;
}

interface Files {
  readonly history: string;
  readonly spine: string;
  readonly out: string;
  readonly prefix?: string;
}

function trainingSetProcess(dir: string, { history, spine, out, prefix = '' }: Files): Measured {
  const args = [
    'training-set',
    '--service',
    'card_fraud',
    '--history',
    history,
    '--spine',
    spine,
    '--out',
    out,
  ];
  return measured(dir, [MILLRACE, ...args, '--prefix', prefix]);
}

function queryProcess(dir: string, { history, spine, out }: Files): Measured {
  const limits = [String(MEMORY_DEFAULT_BYTES), String(availableParallelism())];
  return measured(dir, ['--conditions=source', '--import', 'tsx', QUERY, history, spine, out, ...limits]);
}

function measured(dir: string, args: readonly string[]): Measured {
  const usage = join(dir, 'usage.json');
  const startedMs = performance.now();
  const { status, stderr } = spawnSync(process.execPath, ['--import', USAGE, ...args], {
    env: { ...process.env, BENCH_USAGE_FILE: usage },
    encoding: 'utf8',
  });
  const ms = performance.now() - startedMs;
  if (status !== 0) throw new Error(`a measured process failed: ${stderr}`);
  const { rssMb, cpuMs } = JSON.parse(readFileSync(usage, 'utf8')) as { rssMb: number; cpuMs: number };
  return { ms, cpuMs, rssMb };
}

function middle(measurements: readonly Measured[]): Measured {
  return measurements.toSorted((a, b) => a.ms - b.ms)[measurements.length >>> 1]!;
}

async function equalRows(db: DuckDb, ours: string, theirs: string): Promise<number> {
  const columns = [...(await db.columns(`read_parquet(${text(theirs)})`)).keys()].filter((name) =>
    /^(CUSTOMER|TERMINAL|TX)_[A-Z_0-9]+$/.test(name),
  );
  const same = columns.map(
    (name) => `abs(a.${name} - b.${name}) <= ${/_AVG_|_RISK_/.test(name) ? '1e-9' : '0'}`,
  );
  const { n } = await db.row(
    `SELECT count(*) AS n FROM ${text(ours)} a JOIN ${text(theirs)} b USING (transaction_id) WHERE ${same.join(' AND ')}`,
  );
  return Number(n);
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const thousands = (count: number): string => Math.round(count).toLocaleString('en-US');

export function formatTrainingSets({ data, events, rows, scaling }: TrainingSetsReport): string {
  const table = textTable([
    ['spine', 'rows', '', 'time', 'CPU', 'memory', 'rows/s'],
    ...rows.flatMap(({ spine, rows: count, millrace, duckdb, time, cpu, memory, equal }) => {
      const line = (name: string, { ms, cpuMs, rssMb }: Measured): string[] => [
        ...[name, seconds(ms), seconds(cpuMs), `${Math.round(rssMb)} MB`, thousands((count / ms) * 1000)],
      ];
      return [
        [spine, thousands(count), ...line('millrace', millrace)],
        ['', '', ...line('duckdb', duckdb)],
        [
          '',
          `${thousands(equal)} equal`,
          'ratio',
          formatRatio(time),
          formatRatio(cpu),
          formatRatio(memory),
          '',
        ],
      ];
    }),
  ]);
  const growth = textTable([
    ['history and spine', 'time', 'per event'],
    ...scaling.map(({ events: count, ms, usPerEvent }) => [
      thousands(count),
      seconds(ms),
      `${usPerEvent.toFixed(1)} us`,
    ]),
  ]);
  return `${data}: ${thousands(events)} events; whole processes, Parquet in and out\n\n${table}\n\n${growth}`;
}
