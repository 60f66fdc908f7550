/**
 * What `millrace load` has loaded of a batch source, in a folder:
 *
 *     history/<time>.parquet   the facts of a load, each as the event that was pushed: the source's history, for training sets
 *     pending-<time>.parquet   a load that is under way, with the ids its facts have: pushed again under these after a kill
 *     progress.json            how far it is
 *     work/                    what DuckDB spills, gone after each load
 *
 * There is no other state: what is new is what the table has and the history has not. Of a key (and effective time) the row
 * of the table is compared with the newest one that was loaded, so that a value that comes back is a change as well.
 *
 * A file gets its name when it is whole and flushed. Ids ascend with the time of the load, so that of two facts of one time, a
 * correction, the one that was loaded later is the later one everywhere (C3).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import { FACT_ID, LOADED_AT } from '../engine/definitions/batch-source.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { flushDirectory, flushFile, makeDirectory } from '../engine/store/durable-directory.ts';
import { type DuckDb, fileText, quoted, readError, text } from './duckdb.ts';
import { ARRIVAL, EventHistory, INVALID } from './event-history.ts';
import type { BatchSource } from './fact-table.ts';
import { FILE_ROWS, ROW_NUMBER } from './table-relation.ts';

/** Ids of a load are its time in ms, times so many, and what follows. */
const IDS_PER_MS = 2n ** 21n;
/** Clocks differ: a fact at the very edge of what is taken waits for the next load. */
const CLOCK_ROOM_MS = 60_000;
export const BAD_ROWS_SHOWN = 10;

/** A row of the table that cannot be used. */
export interface BadRow {
  /** From 1: of its file, where there are several. */
  readonly row: number;
  readonly column: string;
}

export interface TableSurvey {
  readonly rows: number;
  readonly bad: { readonly count: number; readonly first: readonly BadRow[] };
  /** Rows that hold from later on than the source takes: they are left for later loads. */
  readonly tooEarly: number;
  /** Rows whose place another one takes, behind them, of the same key and time. */
  readonly replaced: number;
}

/** A load that is under way. */
export interface PendingFacts {
  readonly name: string;
  readonly facts: number;
  /** So many of them have been answered for. */
  readonly done: number;
  /** Which of these were refused, from 0. */
  readonly refused: readonly number[];
}

export class LoadedFacts {
  readonly dir: string;
  readonly #source: BatchSource;

  /** @param dir of this source alone; made where it is missing */
  constructor(dir: string, source: BatchSource) {
    this.dir = dir;
    this.#source = source;
    makeDirectory(this.historyDir);
    rmSync(this.workDir, { recursive: true, force: true });
    for (const name of readdirSync(dir)) if (name.endsWith('.part')) rmSync(join(dir, name));
    for (const name of readdirSync(this.historyDir))
      if (name.endsWith('.part')) rmSync(join(this.historyDir, name));
    mkdirSync(this.workDir);
  }

  get historyDir(): string {
    return join(this.dir, 'history');
  }

  /** Removed by `close`. */
  get workDir(): string {
    return join(this.dir, 'work');
  }

  close(): void {
    rmSync(this.workDir, { recursive: true, force: true });
  }

  /** Files of the history, the oldest first. */
  historyFiles(): string[] {
    return readdirSync(this.historyDir)
      .filter((name) => name.endsWith('.parquet'))
      .sort()
      .map((name) => join(this.historyDir, name));
  }

  /**
   * Writes down what the table has and the history has not.
   * @param nowMs time of the load
   * @returns what was seen; what is to be pushed is `pending`
   */
  async findNew(db: DuckDb, table: EventHistory, nowMs: number): Promise<TableSurvey> {
    const { batch, maxFutureMs } = this.#source;
    const { effectiveTime, columns } = batch;
    const limitMs = nowMs + maxFutureMs - CLOCK_ROOM_MS;
    const inTime = effectiveTime === null ? 'true' : `${quoted(effectiveTime)} <= ${limitMs}`;
    const usable = `${quoted(INVALID)} IS NULL`;
    // One pass over the table, which others may write meanwhile; from here on everything is narrow, or can go to disk.
    const rows = await this.#written(db, 'rows', table.select(columns)).catch((error: unknown) => {
      throw readError(`the table of source ${this.#source.name}`, error);
    });
    const current = `SELECT max(${quoted(ARRIVAL)}) AS last FROM ${rows} WHERE ${usable} AND ${inTime} GROUP BY ${this.#keys}`;
    await db.run(`CREATE OR REPLACE TEMP TABLE current AS ${current}`);
    const last = await this.#lastLoad(db);
    const loaded = last === null ? null : await this.#newestLoaded(db);
    const isSame = columns
      .map((name) => `c.${quoted(name)} IS NOT DISTINCT FROM l.${quoted(name)}`)
      .join(' AND ');
    const changed = await this.#written(
      db,
      'changed',
      `SELECT ${columns.map((name) => `c.${quoted(name)}`).join(', ')} FROM ${rows} c SEMI JOIN current ON c.${quoted(ARRIVAL)} = current.last
       ${loaded === null ? '' : `ANTI JOIN (${loaded}) l ON ${isSame}`} ORDER BY c.${quoted(ARRIVAL)}`,
    );
    await this.#publishPending(db, changed, nowMs, last);

    const seen = await db.row(
      `SELECT count(*) AS rows, count(*) FILTER (NOT (${usable})) AS bad, count(*) FILTER (${usable} AND NOT (${inTime})) AS early,
         (SELECT count(*) FROM current) AS kept FROM ${rows}`,
    );
    const bad = await db.rows(
      `SELECT ${quoted(ARRIVAL)} AS arrival, ${quoted(INVALID)} AS invalid FROM ${rows} WHERE NOT (${usable}) ORDER BY 1 LIMIT ${BAD_ROWS_SHOWN}`,
    );
    await db.run('DROP TABLE current');
    const count = (name: string): number => Number(seen[name]);
    return {
      rows: count('rows'),
      bad: {
        count: count('bad'),
        first: bad.map(({ arrival, invalid }) => ({
          row: rowNumber(Number(arrival)),
          column: String(invalid),
        })),
      },
      tooEarly: count('early'),
      replaced: count('rows') - count('bad') - count('early') - count('kept'),
    };
  }

  /** The facts, with their ids, as the load that is under way; none: there is no load. */
  async #publishPending(
    db: DuckDb,
    changed: string,
    nowMs: number,
    last: { readonly id: bigint; readonly loadedMs: number } | null,
  ): Promise<void> {
    const { facts } = await db.row(`SELECT count(*) AS facts FROM ${changed}`);
    if (Number(facts) === 0) return;
    const { effectiveTime, columns } = this.#source.batch;
    const loadMs = Math.max(nowMs, last === null ? 0 : last.loadedMs + 1);
    const ofTime = BigInt(loadMs) * IDS_PER_MS;
    const firstId = last === null || ofTime > last.id ? ofTime : last.id + 1n;
    const selected = columns.map((name) => `${stored(this.#source, name, quoted(name))} AS ${quoted(name)}`);
    if (effectiveTime === null) selected.push(`${moment(String(loadMs))} AS ${quoted(LOADED_AT)}`);
    selected.push(`${firstId} + ${ROW_NUMBER} AS ${quoted(FACT_ID)}`);
    const name = new Date(loadMs).toISOString().replaceAll(/[:.]/g, '-');
    const file = join(this.dir, `pending-${name}.parquet`);
    await db.run(
      `COPY (SELECT ${selected.join(', ')} FROM ${changed}) TO ${text(`${file}.part`)} (FORMAT parquet)`,
    );
    publish(`${file}.part`, file);
  }

  /** Rows of a query, on disk; with their numbers. */
  async #written(db: DuckDb, name: string, query: string): Promise<string> {
    const file = join(this.workDir, `${name}.parquet`);
    await db.run(`COPY (${query}) TO ${text(file)} (FORMAT parquet)`);
    return `read_parquet(${fileText(file)}, ${ROW_NUMBER} = true)`;
  }

  /** What names one fact. */
  get #keys(): string {
    const { effectiveTime, key } = this.#source.batch;
    return [...key, ...(effectiveTime === null ? [] : [effectiveTime])].map(quoted).join(', ');
  }

  /** The history as events; columns that it had not from the start are null there. */
  async #history(db: DuckDb): Promise<EventHistory> {
    const columns = Object.fromEntries(
      Object.entries(this.#source.columns).map(([name, { type }]) => [name, { type, nullable: true }]),
    );
    const files = this.historyFiles();
    return EventHistory.open(
      db,
      { ...this.#source, columns },
      { path: this.historyDir, format: 'parquet', files },
      this.workDir,
    );
  }

  async #lastLoad(db: DuckDb): Promise<{ readonly id: bigint; readonly loadedMs: number } | null> {
    const files = this.historyFiles();
    if (files.length === 0) return null;
    const { id } = await db.row(
      `SELECT CAST(max(${quoted(FACT_ID)}) AS BIGINT) AS id FROM read_parquet([${files.map(fileText).join(', ')}], union_by_name = true)`,
    );
    return id === null ? null : { id: id as bigint, loadedMs: Number((id as bigint) / IDS_PER_MS) };
  }

  /** Of each key (and time) what was loaded last. */
  async #newestLoaded(db: DuckDb): Promise<string> {
    const { columns } = this.#source.batch;
    const history = `(${(await this.#history(db)).select([...columns, FACT_ID])})`;
    await db.run(
      `CREATE OR REPLACE TEMP TABLE newest AS SELECT max(${quoted(FACT_ID)}) AS id FROM ${history} GROUP BY ${this.#keys}`,
    );
    return `SELECT ${columns.map((name) => `h.${quoted(name)}`).join(', ')} FROM ${history} h SEMI JOIN newest ON h.${quoted(FACT_ID)} = newest.id`;
  }

  /** The load that is under way; null: none is. */
  async pending(db: DuckDb): Promise<PendingFacts | null> {
    for (const file of readdirSync(this.dir).sort()) {
      const name = /^pending-(.+)\.parquet$/.exec(file)?.[1];
      if (name === undefined) continue;
      if (existsSync(join(this.historyDir, `${name}.parquet`))) {
        // It was finished, but for this.
        rmSync(join(this.dir, file));
        continue;
      }
      const { facts } = await db.row(
        `SELECT count(*) AS facts FROM read_parquet(${fileText(join(this.dir, file))})`,
      );
      const { done, refused } = this.#progressOf(name);
      return { name, facts: Number(facts), done, refused };
    }
    return null;
  }

  #progressOf(name: string): Pick<PendingFacts, 'done' | 'refused'> {
    const nothing = { done: 0, refused: [] };
    let progress: { name?: unknown; done?: unknown; refused?: unknown } | null;
    try {
      progress = JSON.parse(readFileSync(this.#progressFile, 'utf8')) as typeof progress;
    } catch {
      // Not there, or torn by a power loss: what was sent is sent again, and known by its ids.
      return nothing;
    }
    const { done, refused } = progress ?? {};
    if (progress?.name !== name || !Number.isSafeInteger(done) || !Array.isArray(refused)) return nothing;
    return { done: done as number, refused: refused as number[] };
  }

  get #progressFile(): string {
    return join(this.dir, 'progress.json');
  }

  /** What was answered for is not sent again. */
  progress({ name, done, refused }: PendingFacts): void {
    writeFileSync(`${this.#progressFile}.part`, JSON.stringify({ name, done, refused }));
    renameSync(`${this.#progressFile}.part`, this.#progressFile);
  }

  /** All of it was answered for: it is history, without what was refused, which the next load tries again. */
  async finish(db: DuckDb, { name, facts, refused }: PendingFacts): Promise<void> {
    const pending = join(this.dir, `pending-${name}.parquet`);
    const file = join(this.historyDir, `${name}.parquet`);
    if (refused.length === 0) {
      publish(pending, file);
      flushDirectory(this.dir);
    } else {
      if (refused.length < facts) {
        await db.run(
          `COPY (SELECT * EXCLUDE (${ROW_NUMBER}) FROM read_parquet(${fileText(pending)}, ${ROW_NUMBER} = true)
             WHERE ${ROW_NUMBER} NOT IN (${refused.join(', ')})) TO ${text(`${file}.part`)} (FORMAT parquet)`,
        );
        publish(`${file}.part`, file);
      }
      rmSync(pending);
    }
    rmSync(this.#progressFile, { force: true });
  }

  /** Facts of the load that is under way, from one on. */
  pendingFacts(db: DuckDb, { name, done }: PendingFacts): AsyncGenerator<EventRow[]> {
    return this.#facts(db, join(this.dir, `pending-${name}.parquet`), done);
  }

  /** Facts that were loaded before, file after file, as they were pushed. */
  async *loadedFacts(db: DuckDb): AsyncGenerator<EventRow[]> {
    for (const file of this.historyFiles()) yield* this.#facts(db, file, 0);
  }

  async loadedCount(db: DuckDb): Promise<number> {
    const files = this.historyFiles();
    if (files.length === 0) return 0;
    return Number(
      (await db.row(`SELECT count(*) AS n FROM read_parquet([${files.map(fileText).join(', ')}])`)).n,
    );
  }

  async *#facts(db: DuckDb, file: string, from: number): AsyncGenerator<EventRow[]> {
    const there = await db.columns(`read_parquet(${fileText(file)})`);
    // A column that was added since is null in what was loaded before.
    const columns = Object.entries(this.#source.columns).filter(([name]) => there.has(name));
    const selected = columns.map(([name, { type }]) =>
      type === 'timestamp' ? `epoch_ms(${quoted(name)}) AS ${quoted(name)}` : quoted(name),
    );
    const query = `SELECT ${selected.join(', ')} FROM read_parquet(${fileText(file)}, ${ROW_NUMBER} = true) WHERE ${ROW_NUMBER} >= ${from}`;
    for await (const chunk of db.stream(query)) {
      yield chunk
        .getRows()
        .map((row) =>
          Object.fromEntries(
            columns.map(([name, { type }], c) => [
              name,
              (type === 'integer' || type === 'timestamp') && row[c] !== null
                ? Number(row[c])
                : (row[c] as ColumnValue),
            ]),
          ),
        );
    }
  }
}

/** Whole and flushed, under its name. */
function publish(part: string, file: string): void {
  flushFile(part);
  renameSync(part, file);
  flushDirectory(join(file, '..'));
}

const moment = (ms: string): string => `make_timestamptz(${ms} * 1000)`;

/** As it is kept: readers know moments for what they are. */
const stored = (source: BatchSource, name: string, x: string): string =>
  source.columns[name]!.type === 'timestamp' ? moment(x) : x;

const rowNumber = (arrival: number): number => (arrival % FILE_ROWS) + 1;
