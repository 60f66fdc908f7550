/**
 * The spine: the rows a training set is made for. Entity keys, a time and, if need be, request data and the id of the event
 * a row is about; whatever else it has, labels first of all, is carried through.
 */
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { ENTITY_KEY_MAX_BYTES } from '../engine/definitions/entity-key.ts';
import type { Column, StreamSource } from '../engine/definitions/types.ts';
import { type DuckDb, quoted, readError } from './duckdb.ts';
import { InputError } from './input-error.ts';
import { ROW_NUMBER, type TableInput, tableRelation } from './table-relation.ts';
import { EXPECTED, type FileColumnKind, typedColumn } from './typed-column.ts';

/** The relation, and columns of it that no file has. */
export const SPINE = 'spine';
/** Its rows, where they cannot be read again as they are. */
const ROWS = '"spine rows"';
/** 0, 1, 2, …: the rows in their order. */
export const PLACE = '$place';
export const AT = '$at';
export const EVENT_ID = '$event_id';
export const keyColumn = (entity: string): string => `$key ${entity}`;
export const requestColumn = (name: string): string => `$request ${name}`;
/** Keys of an entity, each once: `key` and its number `k`. */
export const keyTable = (entity: string): string => `keys ${entity}`;

export interface SpineOptions {
  /** Column with the as-of time. @default `timestamp`, or the name of the sources' event time */
  readonly time?: string;
  /** Column with the id of the event a row is about; null: none. @default the source's, where the spine has it */
  readonly eventId?: string | null;
  /** Source of these events, where the service reads several. */
  readonly eventSource?: string;
  /** Before the names of request data, where a column of that name is something else. @default none */
  readonly requestPrefix?: string;
  /** Columns that are not carried through. @default none */
  readonly hidden?: readonly string[];
}

export interface Spine {
  readonly rows: number;
  /** Columns that are carried through, in their order. */
  readonly columns: readonly string[];
  readonly time: string;
  readonly eventId: { readonly column: string; readonly source: StreamSource } | null;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Rows without a key, by entity: their features are null. */
  readonly withoutKey: ReadonlyMap<string, number>;
}

const REQUIRED = { nullable: false } as const;

/**
 * Makes the spine the relation `SPINE`, and gathers the keys of each entity. One Parquet file is read where it lies, whenever
 * it is asked for; whatever else it is, is read once.
 * @throws InputError where a column is missing or a row cannot be used, with the first such row
 */
export async function readSpine(
  db: DuckDb,
  service: CompiledService,
  input: TableInput,
  options: SpineOptions,
): Promise<Spine> {
  const { path } = input;
  const { requestPrefix = '', hidden = [] } = options;
  const sources = [...new Set(service.views.map(({ view }) => view.source))];
  const eventColumns = sources.flatMap(({ eventTime, eventId }) =>
    eventId === null ? [eventTime] : [eventTime, eventId],
  );
  // A key that is an integer in the events may be read as one; '007' must stay a text elsewhere.
  const hasTextKey = ({ name }: { readonly name: string }): boolean =>
    service.views.some(
      ({ view: { entity, source, definition } }) =>
        entity.name === name && source.columns[definition.keyColumn]!.type === 'string',
    );
  const texts = [
    ...service.entities.filter(hasTextKey).map(({ name }) => name),
    ...Object.keys(service.request).map((name) => `${requestPrefix}${name}`),
    'timestamp',
    ...eventColumns,
  ];
  for (const given of [options.time, options.eventId]) if (given != null) texts.push(given);
  const relation = await tableRelation(db, input, 'spine input', { some: new Set(texts) });
  const { columns } = relation;
  const has = (name: string): boolean => columns.has(name);
  const kindOf = (name: string, what: string): FileColumnKind => {
    const kind = columns.get(name);
    if (kind !== undefined) return kind;
    const there = [...columns.keys()].map((column) => `'${column}'`).join(', ');
    throw new InputError(`${path}: there is no column '${name}', ${what}; the columns are ${there}`);
  };
  for (const name of columns.keys()) {
    if (name.startsWith('$')) throw new InputError(`${path}: column '${name}': a name must not begin with $`);
  }

  // Rows are about events, not about facts.
  const streams = sources.filter(({ batch }) => batch === undefined);
  const about = streams.length === 0 ? sources : streams;
  const time = options.time ?? timeColumn(path, about, has);
  const eventId = eventIdOf(path, about, options, [...columns.keys()]);
  const selected: string[] = [];
  const carried = new Map([...columns.keys()].map((name) => [name, quoted(name)]));
  const checks: { readonly column: string; readonly invalid: string; readonly expected: string }[] = [];
  const add = (name: string, as: string, column: Column, what: string): void => {
    const kind = kindOf(name, what);
    const typed = typedColumn(column, quoted(name), kind);
    if (typed === null) {
      throw new InputError(
        `${path}: column '${name}' is ${(kind as { type: string }).type}; ${what} must be ${column.type}`,
      );
    }
    selected.push(`${typed.value} AS ${quoted(as)}`);
    checks.push({ column: name, invalid: typed.invalid, expected: EXPECTED[column.type] });
    // What is a text in the file has its type in the training set.
    if (kind === 'csv' || kind === 'json') {
      const isTime = column.type === 'timestamp';
      carried.set(name, isTime ? `(epoch_ms(${typed.value}) AT TIME ZONE 'UTC')` : typed.value);
    }
  };
  add(time, AT, { type: 'timestamp', ...REQUIRED }, 'the time of a row');
  if (eventId !== null) {
    const { type } = eventId.source.columns[eventId.source.eventId!]!;
    add(eventId.column, EVENT_ID, { type, nullable: true }, 'the id of the event a row is about');
  }
  for (const { name } of service.entities) {
    const key = keyText(quoted(name), kindOf(name, `the key of the entity '${name}'`));
    if (key === null)
      throw new InputError(`${path}: column '${name}' must be a text or an integer to be an entity key`);
    selected.push(`${key.value} AS ${quoted(keyColumn(name))}`);
    checks.push({ column: name, invalid: key.invalid, expected: KEY_EXPECTED });
    if (columns.get(name) === 'json') carried.set(name, key.value);
  }
  for (const [name, column] of Object.entries(service.request)) {
    add(
      `${requestPrefix}${name}`,
      requestColumn(name),
      column,
      `request data of the service '${service.name}'`,
    );
  }
  // Nothing else says in which order rows of a join come; of one Parquet file they are numbered.
  const order = relation.arrival === null ? '' : `ORDER BY ${relation.arrival}`;
  const place = relation.arrival === ROW_NUMBER ? ROW_NUMBER : `row_number() OVER (${order}) - 1`;
  const rowsOf = `SELECT ${place} AS ${quoted(PLACE)}, ${[...carried].map(([name, sql]) => `${sql} AS ${quoted(name)}`).join(', ')},
    ${selected.join(', ')}, CASE ${checks.map(({ invalid }, c) => `WHEN ${invalid} THEN ${c}`).join(' ')} END AS "$invalid" FROM ${relation.sql}`;
  const keyless = service.entities.map(
    ({ name }, e) => `count(*) FILTER (${quoted(keyColumn(name))} IS NULL) AS keyless${e}`,
  );
  let seen: Record<string, unknown>;
  try {
    if (place !== ROW_NUMBER) await db.run(`CREATE OR REPLACE TABLE ${ROWS} AS ${rowsOf}`);
    await db.run(
      `CREATE OR REPLACE VIEW ${SPINE} AS ${place === ROW_NUMBER ? rowsOf : `SELECT * FROM ${ROWS}`}`,
    );
    seen = await db.row(
      `SELECT count(*) AS rows, min(${quoted(AT)}) AS first, max(${quoted(AT)}) AS last, count("$invalid") AS invalid,
         ${keyless.join(', ')} FROM ${SPINE}`,
    );
  } catch (error) {
    throw readError(path, error);
  }
  if (Number(seen.invalid) > 0) {
    const [{ c, place, n }] = (await db.rows(
      `SELECT "$invalid" AS c, min(${quoted(PLACE)}) AS place, count(*) AS n FROM ${SPINE} WHERE "$invalid" IS NOT NULL GROUP BY 1 ORDER BY 2 LIMIT 1`,
    )) as [Record<string, unknown>];
    const { column, expected } = checks[Number(c)]!;
    throw new InputError(
      `${path}: row ${Number(place) + 1} cannot be used: its '${column}' is missing or not ${expected} (${n} such rows)`,
    );
  }
  const { rows, first, last } = seen;
  if (Number(rows) === 0) throw new InputError(`${path}: the spine has no rows`);
  const withoutKey = new Map<string, number>();
  for (const [e, { name }] of service.entities.entries()) {
    const key = quoted(keyColumn(name));
    await db.run(
      `CREATE OR REPLACE TABLE ${quoted(keyTable(name))} AS SELECT key, CAST(row_number() OVER (ORDER BY key) - 1 AS INTEGER) AS k
       FROM (SELECT DISTINCT ${key} AS key FROM ${SPINE} WHERE ${key} IS NOT NULL)`,
    );
    const without = Number(seen[`keyless${e}`]);
    if (without > 0) withoutKey.set(name, without);
  }
  return {
    rows: Number(rows),
    columns: [...columns.keys()].filter((name) => !hidden.includes(name)),
    ...{ time, eventId, withoutKey },
    firstMs: Number(first),
    lastMs: Number(last),
  };
}

function timeColumn(path: string, sources: readonly StreamSource[], has: (name: string) => boolean): string {
  if (has('timestamp')) return 'timestamp';
  const names = [...new Set(sources.map(({ eventTime }) => eventTime))].filter(has);
  if (names.length === 1) return names[0]!;
  throw new InputError(
    `${path}: which column has the time of a row? There is no 'timestamp'; name it (--time)`,
  );
}

function eventIdOf(
  path: string,
  sources: readonly StreamSource[],
  { eventId, eventSource }: SpineOptions,
  names: readonly string[],
): Spine['eventId'] {
  if (eventId === null) return null;
  const named = sources.filter(
    (source) => source.eventId !== null && (eventSource === undefined || source.name === eventSource),
  );
  if (eventSource !== undefined && named.length === 0)
    throw new InputError(`the service reads no source '${eventSource}' that has event ids (--event-source)`);
  if (eventId === undefined) {
    // Where the spine is made of events it has their ids under the source's own name.
    const found = named.filter((source) => names.includes(source.eventId!));
    for (const { eventId: id } of found.length === 0 ? named : []) {
      const alike = names.find((name) => name.toLowerCase() === id!.toLowerCase());
      if (alike === undefined) continue;
      throw new InputError(
        `${path}: is column '${alike}' the event's id, which is '${id}' in the source? Name it (--event-id ${alike}), or give none (--no-event-id)`,
      );
    }
    if (found.length > 1)
      throw new InputError(
        `${path}: which source are its event ids of? Name it (--event-source), or give none (--no-event-id)`,
      );
    return found.length === 0 ? null : { column: found[0]!.eventId!, source: found[0]! };
  }
  if (named.length !== 1)
    throw new InputError(
      named.length === 0
        ? `no source of the service has event ids: there is nothing that '${eventId}' could be the id of (--event-id)`
        : `which source is '${eventId}' the event id of? Name it (--event-source)`,
    );
  return { column: eventId, source: named[0]! };
}

const KEY_EXPECTED = `a text or an integer of at most ${ENTITY_KEY_MAX_BYTES} bytes`;

/** An entity key as text, as events have it: an integer in decimal, a text as it is. */
export function keyText(x: string, kind: FileColumnKind): { value: string; invalid: string } | null {
  const asText = typedColumn({ type: 'string', nullable: true }, x, kind);
  const asInteger = kind === 'csv' ? null : typedColumn({ type: 'long', nullable: true }, x, kind);
  const fits = (value: string): string => `strlen(${value}) > ${ENTITY_KEY_MAX_BYTES}`;
  if (kind === 'json') {
    const isText = `(${x} IS NOT NULL AND json_type(${x}) = 'VARCHAR')`;
    const value = `CASE WHEN ${isText} THEN ${asText!.value} ELSE CAST(${asInteger!.value} AS VARCHAR) END`;
    const invalid = `CASE WHEN ${isText} THEN ${asText!.invalid} ELSE ${asInteger!.invalid} END`;
    return { value, invalid: `coalesce(${invalid} OR ${fits(value)}, ${invalid})` };
  }
  const typed = asText ?? asInteger;
  if (typed === null) return null;
  const value = asText === null ? `CAST(${typed.value} AS VARCHAR)` : typed.value;
  return { value, invalid: `coalesce(${typed.invalid} OR ${fits(value)}, ${typed.invalid})` };
}
