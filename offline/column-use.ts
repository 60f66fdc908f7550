/**
 * Which of a source's columns a view reads. Its filter and projections are closures: they are watched at work on the first
 * events. A column that a closure asks for later is noticed as well (see `ViewEvaluator`), and the view is begun anew with it.
 *
 * A filter is a pure function of the columns it reads. Where these have few different values it is asked once for each, and
 * DuckDB keeps the events for which it is not false.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { ColumnBuffer, isNumberColumn, transported } from './column-buffer.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { type EventHistory, INVALID } from './event-history.ts';
import { cellReaderOf } from './fetched-row.ts';

const WATCHED_EVENTS = 1_000;
const FILTER_COLUMNS_MAX = 3;
const FILTER_VALUES_MAX = 1_000;

export interface ColumnUse {
  /** Columns of the source that its closures and aggregations read, as far as it was seen. */
  readonly fetched: readonly string[];
  /** Condition on the events `e` as SQL; null: there is none that can be had. */
  readonly filter: string | null;
}

export async function columnUse(db: DuckDb, view: CompiledView, history: EventHistory): Promise<ColumnUse> {
  const { filter, project } = view.definition;
  const names = Object.keys(view.source.columns);
  const used = new Set(view.columns.map(({ name }) => name).filter((name) => !Object.hasOwn(project, name)));
  const inOrder = (some: ReadonlySet<string>): string[] => names.filter((name) => some.has(name));
  const isProjected = view.columns.some(({ name }) => Object.hasOwn(project, name));
  if (filter === null && !isProjected) return { fetched: inOrder(used), filter: null };
  const byFilter = new Set<string>();
  const sample = `(${history.select(names)}) e WHERE ${quoted(INVALID)} IS NULL LIMIT ${WATCHED_EVENTS}`;
  for await (const row of eventRows(db, view, names, sample)) {
    if (filter !== null) attempt(() => filter(watched(row, names, byFilter)));
    attempt(() => view.project(watched(row, names, used)));
  }
  return {
    fetched: inOrder(used),
    filter: filter === null ? null : await pushedDown(db, view, history, inOrder(byFilter)),
  };
}

/** What it throws is its own business: here it is only watched. */
function attempt(run: () => unknown): void {
  try {
    run();
  } catch {}
}

/** The row, which remembers what is looked at. Whoever looks at what there is reads everything. */
function watched(row: EventRow, names: readonly string[], used: Set<string>): EventRow {
  const all = (): void => {
    for (const name of names) used.add(name);
  };
  return new Proxy(row, {
    get(target, name, receiver) {
      if (typeof name === 'string' && names.includes(name)) used.add(name);
      return Reflect.get(target, name, receiver) as unknown;
    },
    has(target, name) {
      all();
      return Reflect.has(target, name);
    },
    ownKeys(target) {
      all();
      return Reflect.ownKeys(target);
    },
    getOwnPropertyDescriptor(target, name) {
      all();
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
  });
}

async function* eventRows(
  db: DuckDb,
  view: CompiledView,
  names: readonly string[],
  from: string,
): AsyncGenerator<EventRow> {
  const { columns } = view.source;
  const readers = names.map((name) => ({ name, ...columns[name]!, read: cellReaderOf(columns[name]!.type) }));
  const selected = readers.map(({ name, type }) => transported(`e.${quoted(name)}`, type));
  const isNumber = readers.map(({ type }) => isNumberColumn(type));
  for await (const chunk of db.stream(`SELECT ${selected.join(', ')} FROM ${from}`)) {
    const buffer = new ColumnBuffer(isNumber, chunk.rowCount);
    buffer.add(chunk);
    const values = buffer.take(chunk.rowCount);
    for (let i = 0; i < chunk.rowCount; i++) {
      yield Object.fromEntries(readers.map(({ name, read }, c) => [name, read(values[c]!, i)]));
    }
  }
}

async function pushedDown(
  db: DuckDb,
  view: CompiledView,
  history: EventHistory,
  names: readonly string[],
): Promise<string | null> {
  if (names.length === 0 || names.length > FILTER_COLUMNS_MAX) return null;
  const table = `filter ${view.name}`;
  const columns = names.map((name) => `e.${quoted(name)}`).join(', ');
  await db.run(
    `CREATE OR REPLACE TEMP TABLE ${quoted(table)} AS SELECT DISTINCT ${columns} FROM (${history.select(names)}) e
     WHERE ${quoted(INVALID)} IS NULL LIMIT ${FILTER_VALUES_MAX + 1}`,
  );
  const kept: number[] = [];
  let values = 0;
  const everyColumn = Object.keys(view.source.columns);
  for await (const row of eventRows(db, view, names, `(SELECT * FROM ${quoted(table)} ORDER BY rowid) e`)) {
    const read = new Set<string>();
    let answer: unknown = true;
    attempt(() => {
      answer = view.definition.filter!(watched(row, everyColumn, read));
    });
    // With these values it reads a further column: its answer is not theirs alone.
    if ([...read].some((name) => !names.includes(name))) return null;
    if (answer !== false) kept.push(values);
    values++;
  }
  if (values > FILTER_VALUES_MAX) return null;
  await db.run(
    `DELETE FROM ${quoted(table)} WHERE rowid NOT IN (${kept.length === 0 ? '-1' : kept.join(', ')})`,
  );
  const same = names.map((name) => `f.${quoted(name)} IS NOT DISTINCT FROM e.${quoted(name)}`).join(' AND ');
  return `EXISTS (SELECT 1 FROM ${quoted(table)} f WHERE ${same})`;
}
