/**
 * The events of one source as they were, in DuckDB: its columns with their declared types, the order in which they
 * arrived, and which rows cannot be used. What is refused online, as it breaks the schema, does not count here either.
 *
 * Files of texts (CSV, JSON) are read once, into Parquet; Parquet is read where it lies, and of it the columns that are needed.
 */
import { join } from 'node:path';
import type { StreamSource } from '../engine/definitions/types.ts';
import { type DuckDb, fileText, quoted, readError, text } from './duckdb.ts';
import { InputError } from './input-error.ts';
import { type TableInput, type TableRelation, tableRelation } from './table-relation.ts';
import { SQL_TYPES, typedColumn } from './typed-column.ts';

/** Names that no column of a source can have. Order of arrival: no two rows have the same. */
export const ARRIVAL = '$arrival';
/** Order of events of one time where the source has no event ids (C3): the position in the log. */
export const POSITION = '$position';
/** There: what tells a repeat of a record; null: nothing does. */
export const REPEAT_ID = '$repeat_id';
/** The first column for which a row cannot be used; null: it can. */
export const INVALID = '$invalid';

/** Of records of a log, as archives have them; null in other histories. Offset: of the record itself, also of a copy. */
export const PARTITION = '$partition';
export const OFFSET = '$offset';
/** ms. */
export const APPENDED = '$appended';
export const STAMP = '$stamp';
/** Offset of the record that this one is a copy of. */
export const ORIGIN = '$origin';

/** Of records of a log: where they stand in it decides, not the order of files. */
const LOG_PARTITION = '_partition';
const LOG_OFFSET = '_offset';
/** As archives have them. A copy of a record counts in its place, and a record under its stamp. */
const LOG_ORIGIN = '_origin_offset';
const LOG_STAMP = '_stamp';
const LOG_APPENDED = '_appended_at';
/** Offsets of a partition that its number leaves room for, so that both fit in 2⁵³. */
const LOG_OFFSETS = 2 ** 41;

export interface HistorySurvey {
  readonly events: number;
  /** Rows that cannot be used, by the column they cannot be used for. */
  readonly refused: ReadonlyMap<string, number>;
  readonly firstMs: number | null;
  readonly lastMs: number | null;
}

export class EventHistory {
  readonly source: StreamSource;
  readonly #db: DuckDb;
  readonly #relation: TableRelation;
  /** What was read once, with the columns of `select`; null: it is read where it lies. */
  #staged: string | null = null;
  /** Columns for which some row cannot be used; null: not known yet. */
  #unusable: ReadonlySet<string> | null = null;
  #survey: HistorySurvey | null = null;

  private constructor(db: DuckDb, source: StreamSource, relation: TableRelation) {
    this.#db = db;
    this.source = source;
    this.#relation = relation;
  }

  /** @throws InputError where files cannot be read, or a column that the source requires is in none of them */
  static async open(
    db: DuckDb,
    source: StreamSource,
    input: TableInput,
    workDir: string,
  ): Promise<EventHistory> {
    const relation = await tableRelation(db, input, `history ${source.name}`, {
      all: Object.keys(source.columns),
    });
    const history = new EventHistory(db, source, relation);
    history.#check();
    if (relation.arrival === null) await history.#stage(join(workDir, `history-${source.name}.parquet`));
    await history.#look();
    return history;
  }

  /** One scan: whichever column a row cannot be used for, it does not count, also where that column is not read. */
  async #look(): Promise<void> {
    const { eventTime, columns } = this.source;
    // Rows of a table may have no time of their own.
    const isTimed = Object.hasOwn(columns, eventTime);
    const time = isTimed ? quoted(eventTime) : 'NULL';
    const rows = await this.#db
      .rows(
        `SELECT ${quoted(INVALID)} AS invalid, count(*) AS events, min(${time}) AS first, max(${time}) AS last,
           count(*) FILTER (${quoted(ARRIVAL)} IS NULL) AS unplaced
         FROM (${this.select([isTimed ? eventTime : Object.keys(columns)[0]!])}) GROUP BY 1`,
      )
      .catch((error: unknown) => {
        throw readError(this.path, error);
      });
    const unplaced = rows.reduce((sum, row) => sum + Number(row.unplaced), 0);
    if (unplaced > 0) {
      throw new InputError(
        `${this.path}: ${unplaced} rows do not say which records of the log they are, and others do: an archive has its own files only`,
      );
    }
    const refused = new Map<string, number>();
    let events = 0;
    let firstMs: number | null = null;
    let lastMs: number | null = null;
    for (const row of rows) {
      events += Number(row.events);
      if (row.invalid !== null) refused.set(String(row.invalid), Number(row.events));
      else if (row.first !== null) {
        firstMs = Number(row.first);
        lastMs = Number(row.last);
      }
    }
    this.#survey = { events, refused, firstMs, lastMs };
    this.#unusable = new Set(refused.keys());
  }

  get survey(): HistorySurvey {
    // `open` has looked.
    return this.#survey!;
  }

  async #stage(file: string): Promise<void> {
    // In the order of the files: DuckDB keeps it where nothing sorts.
    const rows = this.#typed(Object.keys(this.source.columns), null);
    try {
      await this.#db.run(`COPY (${rows}) TO ${text(file)} (FORMAT parquet)`);
    } catch (error) {
      throw readError(this.#relation.path, error);
    }
    this.#staged = `read_parquet(${fileText(file)}, file_row_number = true)`;
  }

  /** As it was given. */
  get path(): string {
    return this.#relation.path;
  }

  /** Columns of the source that no file has, but of JSON, which does not say. */
  get absent(): string[] {
    return Object.keys(this.source.columns).filter((name) => !this.#relation.columns.has(name));
  }

  /** Names and kinds must be such that values can stand for what the source declares. */
  #check(): void {
    const { path, columns } = this.#relation;
    const missing: string[] = [];
    for (const [name, column] of Object.entries(this.source.columns)) {
      const kind = columns.get(name);
      if (kind === undefined) {
        if (!column.nullable && !this.#isFactId(name)) missing.push(name);
      } else if (typedColumn(column, quoted(name), kind) === null) {
        const { type } = kind as { type: string };
        throw new InputError(
          `${path}: column '${name}' is ${type} there and ${column.type} in the source '${this.source.name}'`,
        );
      }
    }
    if (missing.length === 0) return;
    throw new InputError(
      `${path}: the source '${this.source.name}' requires ${missing.map((name) => `'${name}'`).join(', ')}; the columns there are ${[...columns.keys()].map((name) => `'${name}'`).join(', ')}`,
    );
  }

  /** Facts get an id when they are loaded. In their table, where they have none, the order of its rows stands for it. */
  #isFactId(name: string): boolean {
    return this.source.batch !== undefined && name === this.source.eventId;
  }

  /**
   * A query of the events: the columns asked for, `ARRIVAL`, `POSITION`, `REPEAT_ID`, `INVALID`, and those of records.
   * @param names columns of the source that are needed; of files that lie in columns no others are read, but for those that
   * some row cannot be used for
   */
  select(names: readonly string[]): string {
    if (this.#staged !== null) {
      const values = names.map((name) =>
        this.#isFactId(name) ? `coalesce(${quoted(name)}, file_row_number) AS ${quoted(name)}` : quoted(name),
      );
      return `SELECT ${values.join(', ')}, file_row_number AS ${quoted(ARRIVAL)}, file_row_number AS ${quoted(POSITION)},
        CAST(NULL AS VARCHAR) AS ${quoted(REPEAT_ID)}, ${noRecords().join(', ')}, ${quoted(INVALID)} FROM ${this.#staged}`;
    }
    return this.#typed(
      names,
      this.hasOffsets ? `(${LOG_PARTITION} * ${LOG_OFFSETS} + ${LOG_OFFSET})` : this.#relation.arrival,
    );
  }

  /** When records were appended to their log, ms, as SQL over `select`; null: the history does not say. */
  get appendedAt(): string | null {
    return this.#staged === null && this.#appendTime() !== null ? quoted(APPENDED) : null;
  }

  #appendTime(): string | null {
    const kind = this.#relation.columns.get(LOG_APPENDED);
    return kind === undefined
      ? null
      : (typedColumn({ type: 'timestamp', nullable: true }, quoted(LOG_APPENDED), kind)?.value ?? null);
  }

  /** Whether every event says which record of the log it was. */
  get hasOffsets(): boolean {
    const { columns } = this.#relation;
    return this.#staged === null && columns.has(LOG_PARTITION) && columns.has(LOG_OFFSET);
  }

  /** `POSITION` and `REPEAT_ID`, where records of a log have them. */
  #ofRecords(arrival: string): string[] {
    const { columns } = this.#relation;
    const has = (...names: readonly string[]): boolean => names.every((name) => columns.has(name));
    const isCopy = has(LOG_PARTITION, LOG_OFFSET, LOG_ORIGIN);
    const position = isCopy
      ? `(${LOG_PARTITION} * ${LOG_OFFSETS} + coalesce(${LOG_ORIGIN}, ${LOG_OFFSET}))`
      : arrival;
    const record = (name: string, column: string, type: string): string =>
      `${this.hasOffsets && has(column) ? column : `CAST(NULL AS ${type})`} AS ${quoted(name)}`;
    const appended = this.#appendTime() ?? 'CAST(NULL AS BIGINT)';
    const ids = [
      ...(has(LOG_STAMP) ? [LOG_STAMP] : []),
      ...(isCopy ? [`'copy of ' || ${LOG_PARTITION} || '/' || ${LOG_ORIGIN}`] : []),
    ];
    return [
      `${position} AS ${quoted(POSITION)}`,
      `${ids.length === 0 ? 'CAST(NULL AS VARCHAR)' : `coalesce(${ids.join(', ')})`} AS ${quoted(REPEAT_ID)}`,
      record(PARTITION, LOG_PARTITION, 'BIGINT'),
      record(OFFSET, LOG_OFFSET, 'BIGINT'),
      `${appended} AS ${quoted(APPENDED)}`,
      record(STAMP, LOG_STAMP, 'VARCHAR'),
      record(ORIGIN, LOG_ORIGIN, 'BIGINT'),
    ];
  }

  #typed(names: readonly string[], arrival: string | null, further: readonly string[] = []): string {
    const { sql, columns } = this.#relation;
    const selected: string[] = [...further];
    const refusals: string[] = [];
    for (const name of names) {
      const isFactId = this.#isFactId(name);
      const { type, nullable } = this.source.columns[name]!;
      const kind = columns.get(name);
      const column = { type, nullable: nullable || isFactId };
      const typed = kind === undefined ? null : typedColumn(column, quoted(name), kind)!;
      const there = typed === null ? `CAST(NULL AS ${SQL_TYPES[type]})` : typed.value;
      const value = isFactId && arrival !== null ? `coalesce(${there}, ${arrival})` : there;
      selected.push(`${value} AS ${quoted(name)}`);
    }
    for (const [name, column] of Object.entries(this.source.columns)) {
      const kind = columns.get(name);
      if (kind === undefined || this.#unusable?.has(name) === false) continue;
      const { type, nullable } = column;
      const { invalid } = typedColumn(
        { type, nullable: nullable || this.#isFactId(name) },
        quoted(name),
        kind,
      )!;
      refusals.push(`WHEN ${invalid} THEN ${text(name)}`);
    }
    if (arrival !== null) selected.push(`${arrival} AS ${quoted(ARRIVAL)}`, ...this.#ofRecords(arrival));
    const invalid = refusals.length === 0 ? 'CAST(NULL AS VARCHAR)' : `CASE ${refusals.join(' ')} END`;
    return `SELECT ${selected.join(', ')}, ${invalid} AS ${quoted(INVALID)} FROM ${sql}`;
  }
}

function noRecords(): string[] {
  const types = {
    [PARTITION]: 'BIGINT',
    [OFFSET]: 'BIGINT',
    [APPENDED]: 'BIGINT',
    [STAMP]: 'VARCHAR',
    [ORIGIN]: 'BIGINT',
  };
  return Object.entries(types).map(([name, type]) => `CAST(NULL AS ${type}) AS ${quoted(name)}`);
}
