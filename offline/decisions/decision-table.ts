/**
 * Records of a decision log as a table of DuckDB: those of one service that were answered with the definitions at hand.
 * What is left out is counted, by its reason.
 *
 * Columns: `n` (0, 1, 2, …), `record`, `request`, `row`, `at_ms`, `answered_ms`, `event` (a STRUCT), `request_data`,
 * `features` and `statuses` (JSON), `is_hashed`, a key column for each entity, and `left_out`, which later steps fill in.
 */
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import type { KeyHash } from '../../serve/decision-log/key-hash.ts';
import { type DuckDb, fileText, quoted, readError, text } from '../duckdb.ts';
import { keyColumn } from '../spine.ts';
import type { DecisionLogFiles } from './decision-files.ts';

export const DECISIONS = 'decisions';

/** Why a decision of the service is not used; the order is that of the steps. */
export const LEFT_OUT = {
  incomplete: 'its record is not whole',
  other_definitions: 'it was answered with other definitions',
  no_secret: 'its keys are hashed and no secret is given',
  other_secret: 'its keys are hashed with another secret',
  event_not_in_history: 'the history does not have the event it is about, and its call did not record it',
  event_differs: 'the history has the event it is about with another time',
  event_without_id: 'the event it is about has no id, and its call did not record it',
  request_data: 'its request data is not what the service asks for',
} as const;

export type LeftOut = keyof typeof LEFT_OUT;

export interface DecisionTable {
  /** Records in the files, and those of the service. */
  readonly records: number;
  readonly ofService: number;
  /** What could be used, before a sample was taken of it. */
  readonly usable: number;
  /** Rows of the table. */
  readonly rows: number;
  readonly leftOut: ReadonlyMap<LeftOut, number>;
}

export interface DecisionTableArgs {
  readonly db: DuckDb;
  readonly service: CompiledService;
  readonly files: DecisionLogFiles;
  /** Of the secret that keys were hashed with; null: there is none. */
  readonly hash: KeyHash | null;
  /** Whether the table has `features` and `statuses`, which are most of it. */
  readonly values: boolean;
  /** Whether decisions with keys that cannot be had back are used all the same. */
  readonly keepsHashes: boolean;
  /** How many are taken, and by which seed; the same ones each time. null: all, in the order in which they were answered. */
  readonly sample: { readonly rows: number; readonly seed: number } | null;
}

/** As README.md of `serve` has them; maps as JSON. */
const COLUMNS = {
  record: 'VARCHAR',
  request: 'VARCHAR',
  row: 'INTEGER',
  service: 'VARCHAR',
  views: 'JSON',
  secret_id: 'VARCHAR',
  entities: 'JSON',
  at_ms: 'BIGINT',
  answered_ms: 'BIGINT',
  event: 'STRUCT(source VARCHAR, id VARCHAR, time_ms BIGINT, ingested VARCHAR)',
  request_data: 'JSON',
  features: 'JSON',
  statuses: 'JSON',
} as const;

const WHOLE = ['record', 'views', 'entities', 'at_ms', 'answered_ms', 'features', 'statuses']
  .map((name) => `${name} IS NOT NULL`)
  .join(' AND ');

/** A field of an object in JSON, as SQL. Names are those of definitions, or come as text. */
export const jsonField = (object: string, name: string, operator: '->' | '->>'): string =>
  `(${object} ${operator} ${text(`$.${quoted(name)}`)})`;

/** @throws InputError where a file cannot be read */
export async function readDecisions(args: DecisionTableArgs): Promise<DecisionTable> {
  const { db, service, files, hash, sample } = args;
  const columns = Object.entries(COLUMNS).map(([name, type]) => `${name}: ${text(type)}`);
  const records = `read_json([${files.files.map(fileText).join(', ')}], format = 'newline_delimited', hive_partitioning = false,
    columns = {${columns.join(', ')}})`;
  try {
    // Which views were read is the same in very many records: the definitions are looked at here, not in SQL.
    const kinds = await db.rows(
      `SELECT service IS NOT DISTINCT FROM ${text(service.name)} AS own, (${WHOLE}) AS whole, CAST(views AS VARCHAR) AS views, secret_id, count(*) AS n
       FROM ${records} GROUP BY ALL`,
    );
    const leftOut = new Map<LeftOut, number>();
    const current = new Set<string>();
    const secrets = new Set<string>();
    const found = { records: 0, ofService: 0, usable: 0 };
    for (const { own, whole, views, secret_id: secretId, n: count } of kinds) {
      const n = Number(count);
      found.records += n;
      if (own !== true) continue;
      found.ofService += n;
      const reason = reasonOf(args, whole === true, views as string | null, secretId as string | null);
      if (reason !== null) leftOut.set(reason, (leftOut.get(reason) ?? 0) + n);
      else {
        found.usable += n;
        current.add(views as string);
        if (secretId !== null) secrets.add(secretId as string);
      }
    }
    const list = (texts: ReadonlySet<string>): string => `(${[...texts].map(text).join(', ') || 'NULL'})`;
    const order =
      sample === null
        ? 'answered_ms, record'
        : // Of a text that says all: what a hash function of DuckDB's own gives may change with its versions.
          `md5(record || ${text(` ${sample.seed}`)}), record`;
    const restorable = args.keepsHashes ? '' : `AND (secret_id IS NULL OR secret_id IN ${list(secrets)})`;
    const keys = service.entities.map(
      ({ name }) => `${jsonField('entities', name, '->>')} AS ${quoted(keyColumn(name))}`,
    );
    await db.run(
      `CREATE OR REPLACE TABLE ${DECISIONS} AS SELECT row_number() OVER (ORDER BY ${order}) - 1 AS n, record, request, row, at_ms, answered_ms, event,
         request_data, ${args.values ? 'features, statuses, ' : ''}${keys.map((key) => `${key}, `).join('')}
         ${hash === null ? 'false' : `secret_id IS NOT DISTINCT FROM ${text(hash.secretId)}`} AS is_hashed, CAST(NULL AS VARCHAR) AS left_out
       FROM ${records} WHERE service = ${text(service.name)} AND ${WHOLE} AND CAST(views AS VARCHAR) IN ${list(current)} ${restorable}
       ORDER BY ${order} ${sample === null ? '' : `LIMIT ${sample.rows}`}`,
    );
    const { n } = await db.row(`SELECT count(*) AS n FROM ${DECISIONS}`);
    return { ...found, rows: Number(n), leftOut };
  } catch (error) {
    throw readError(files.path, error);
  }
}

function reasonOf(
  { service, hash, keepsHashes }: DecisionTableArgs,
  whole: boolean,
  views: string | null,
  secretId: string | null,
): LeftOut | null {
  if (!whole || views === null) return 'incomplete';
  const read = Object.entries(JSON.parse(views) as Record<string, unknown>);
  const isCurrent = ([name, namespace]: [string, unknown]): boolean =>
    service.views.some(({ view }) => view.name === name && view.namespace === namespace);
  if (!read.every(isCurrent)) return 'other_definitions';
  if (secretId === null || keepsHashes || secretId === hash?.secretId) return null;
  return hash === null ? 'no_secret' : 'other_secret';
}

/** Decisions that a step has left out, added to those that were before. */
export async function countLeftOut(
  db: DuckDb,
  before: ReadonlyMap<LeftOut, number>,
): Promise<Map<LeftOut, number>> {
  const rows = await db.rows(
    `SELECT left_out, count(*) AS n FROM ${DECISIONS} WHERE left_out IS NOT NULL GROUP BY 1`,
  );
  const counts = new Map(before);
  for (const { left_out: reason, n } of rows) counts.set(reason as LeftOut, Number(n));
  const names = Object.keys(LEFT_OUT);
  return new Map([...counts].sort(([a], [b]) => names.indexOf(a) - names.indexOf(b)));
}
