/**
 * Labels that arrive later than what they are about, joined to decisions by the id of the decided event. Of several labels of one
 * event the latest counts; which of them are known yet, and which come too late to count, is told by their time.
 */
import type { StreamSource } from '../../engine/definitions/types.ts';
import { type DuckDb, quoted, readError } from '../duckdb.ts';
import { InputError } from '../input-error.ts';
import { type TableInput, tableRelation } from '../table-relation.ts';
import { EXPECTED, typedColumn } from '../typed-column.ts';

export interface LabelOptions {
  /** Column with the id of the event. @default the source's name of it, or `event_id` */
  readonly labelId?: string;
  /** Column with the time at which a label was known. @default `label_time`, where it is there */
  readonly labelTime?: string;
  /** Columns that are taken. @default all but the id */
  readonly labelColumns?: readonly string[];
  /**
   * Labels count up to so long after their decision, ms; decisions without one that are younger are left out, as one may come
   * yet. @default any label counts, and nothing is left out
   */
  readonly labelWindowMs?: number;
  /** Labels that were known then, ms since the epoch. @default all; for the age of decisions, the time of the newest label */
  readonly untilMs?: number;
}

export interface LabelSummary {
  readonly labelled: number;
  readonly unlabelled: number;
  /** Decisions that were left out, as their label may come yet. */
  readonly tooYoung: number;
  /** Events with a label and no decision. */
  readonly withoutDecision: number;
  /** Labels that came after the window, or after `untilMs`. */
  readonly tooLate: number;
}

const LABELS = 'labels';
/** Table of joined labels: `n` of the decision, and the columns. */
export const LABELLED = 'labelled';
const ID = '$id';
const TIME = '$time';

/** What a step needs to know of the decisions: a table or query with `n`, `at_ms` and `id` (of the source's type). */
export interface LabelTarget {
  readonly decisions: string;
  readonly source: StreamSource;
}

/**
 * Joins the labels into the table `LABELLED`, and lists decisions that are too young in the table `too_young`.
 * @returns the columns of labels, and what was seen
 * @throws InputError where labels cannot be used
 */
export async function joinLabels(
  db: DuckDb,
  input: TableInput,
  { decisions, source }: LabelTarget,
  options: LabelOptions,
): Promise<{ readonly columns: readonly string[]; readonly summary: LabelSummary }> {
  const { path } = input;
  const { labelWindowMs: windowMs = null, untilMs = null } = options;
  const { columns, time } = await readLabels(db, input, source, options);
  if (windowMs !== null && time === null) {
    throw new InputError(
      `${path}: a label window needs the time of the labels: name its column (--label-time)`,
    );
  }
  const known = untilMs === null || time === null ? 'true' : `l.${quoted(TIME)} <= ${untilMs}`;
  const counts = windowMs === null ? known : `${known} AND l.${quoted(TIME)} <= d.at_ms + ${windowMs}`;
  await db.run(
    `CREATE OR REPLACE TABLE ${LABELLED} AS SELECT d.n, l.* FROM (${decisions}) d JOIN ${LABELS} l ON l.${quoted(ID)} = d.id WHERE ${counts}
     QUALIFY rank() OVER (PARTITION BY d.n ORDER BY l.${quoted(TIME)} DESC NULLS LAST) = 1`,
  );
  const several = await db.row(
    `SELECT count(*) AS n FROM (SELECT n FROM ${LABELLED} GROUP BY n HAVING count(*) > 1)`,
  );
  if (Number(several.n) > 0) {
    throw new InputError(
      time === null
        ? `${path}: events with several labels: ${several.n}; name the column with the time of each, of which the latest counts (--label-time)`
        : `${path}: events with several labels of one time ('${time}'): ${several.n}; which of them counts cannot be told`,
    );
  }
  const newest = await db.row(`SELECT max(l.${quoted(TIME)}) AS ms FROM ${LABELS} l WHERE ${known}`);
  const knownMs = untilMs ?? (newest.ms === null ? null : Number(newest.ms));
  if (windowMs !== null && knownMs === null)
    throw new InputError(`${path}: there are no labels: say until when there were none (--until)`);
  const isYoung = windowMs === null ? 'false' : `at_ms > ${knownMs! - windowMs}`;
  await db.run(
    `CREATE OR REPLACE TABLE too_young AS SELECT n FROM (${decisions}) WHERE n NOT IN (SELECT n FROM ${LABELLED}) AND ${isYoung}`,
  );
  const found = await db.row(
    `SELECT (SELECT count(*) FROM ${LABELLED}) AS labelled, (SELECT count(*) FROM too_young) AS young, (SELECT count(*) FROM (${decisions})) AS decisions,
       (SELECT count(DISTINCT ${quoted(ID)}) FROM ${LABELS} WHERE ${quoted(ID)} NOT IN (SELECT id FROM (${decisions}) WHERE id IS NOT NULL)) AS without,
       (SELECT count(*) FROM (${decisions}) d JOIN ${LABELS} l ON l.${quoted(ID)} = d.id WHERE NOT (${counts})) AS late`,
  );
  const [labelled, tooYoung] = [Number(found.labelled), Number(found.young)];
  return {
    columns,
    summary: {
      ...{ labelled, tooYoung, unlabelled: Number(found.decisions) - labelled - tooYoung },
      ...{ withoutDecision: Number(found.without), tooLate: Number(found.late) },
    },
  };
}

/** Rows that are there twice, all columns alike, are one. */
async function readLabels(
  db: DuckDb,
  input: TableInput,
  source: StreamSource,
  { labelId, labelTime, labelColumns }: LabelOptions,
): Promise<{ readonly columns: readonly string[]; readonly time: string | null }> {
  const { path } = input;
  const eventId = source.eventId!;
  const typedNames = [eventId, 'event_id', 'label_time', labelId, labelTime];
  const some = new Set(typedNames.filter((name) => name !== undefined));
  const relation = await tableRelation(db, input, 'labels input', { some });
  const names = [...relation.columns.keys()];
  const listed = names.map((name) => `'${name}'`).join(', ');
  const must = (name: string, what: string): string => {
    if (names.includes(name)) return name;
    throw new InputError(`${path}: there is no column '${name}', ${what}; the columns are ${listed}`);
  };
  const id =
    labelId === undefined
      ? [eventId, 'event_id'].find((name) => names.includes(name))
      : must(labelId, 'the id of the event (--label-id)');
  if (id === undefined) {
    throw new InputError(
      `${path}: which column has the id of the event? There is no '${eventId}' and no 'event_id'; name it (--label-id); the columns are ${listed}`,
    );
  }
  const time =
    labelTime === undefined
      ? names.includes('label_time')
        ? 'label_time'
        : null
      : must(labelTime, 'the time of a label (--label-time)');
  const columns = (labelColumns ?? names.filter((name) => name !== id)).map((name) =>
    must(name, 'a label (--label-columns)'),
  );
  if (columns.length === 0)
    throw new InputError(`${path}: there is no column but '${id}': a label is a further one`);

  const typed = (name: string, type: 'timestamp' | typeof idType, what: string) => {
    const found = typedColumn({ type, nullable: false }, quoted(name), relation.columns.get(name)!);
    if (found !== null) return found;
    const { type: given } = relation.columns.get(name) as { type: string };
    throw new InputError(`${path}: column '${name}' is ${given}; ${what} must be ${type}`);
  };
  const idType = source.columns[eventId]!.type;
  const ids = typed(id, idType, `an event id of '${source.name}'`);
  const times = time === null ? null : typed(time, 'timestamp', 'the time of a label');
  const carried = columns.map((name) => {
    const kind = relation.columns.get(name)!;
    // What is a text in the file, as times are, has its type here.
    if (name === time && (kind === 'csv' || kind === 'json'))
      return `(epoch_ms(${times!.value}) AT TIME ZONE 'UTC') AS ${quoted(name)}`;
    if (kind === 'json') return `(${quoted(name)} ->> '$') AS ${quoted(name)}`;
    return quoted(name);
  });
  try {
    const rows = `SELECT ${ids.value} AS ${quoted(ID)}, ${times?.value ?? 'CAST(NULL AS BIGINT)'} AS ${quoted(TIME)},
        CASE WHEN ${ids.invalid} THEN 1 ${times === null ? '' : `WHEN ${times.invalid} THEN 2`} END AS "$invalid", ${carried.join(', ')}
      FROM ${relation.sql}`;
    await db.run(`CREATE OR REPLACE TABLE ${LABELS} AS SELECT DISTINCT * FROM (${rows})`);
  } catch (error) {
    throw readError(path, error);
  }
  const [bad] = await db.rows(
    `SELECT "$invalid" AS c, count(*) AS n FROM ${LABELS} WHERE "$invalid" IS NOT NULL GROUP BY 1 ORDER BY 1`,
  );
  if (bad !== undefined) {
    const [column, type] =
      Number(bad.c) === 1 ? [id, source.columns[eventId]!.type] : [time, 'timestamp' as const];
    throw new InputError(
      `${path}: '${column}' is missing or not ${EXPECTED[type]} in labels: ${bad.n} of them cannot be used`,
    );
  }
  return { columns, time };
}
