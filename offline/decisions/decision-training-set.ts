/**
 * Training sets of decisions: a row for each logged decision, with labels that came later joined by the id of its event. The
 * features are computed from a history, as those of any spine, or are the values as they were answered.
 *
 *     decision log ─► one for each event ─┐
 *                                         ├─► spine, labels as further columns ─► training set
 *     labels ─► latest within the window ─┘                                       (or the logged values)
 */
import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type * as Arrow from 'apache-arrow';
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import type { StreamSource } from '../../engine/definitions/types.ts';
import { KeyHash } from '../../serve/decision-log/key-hash.ts';
import { arrowTable } from '../arrow-output.ts';
import { type DuckDb, quoted, text } from '../duckdb.ts';
import { EventHistory } from '../event-history.ts';
import { InputError } from '../input-error.ts';
import {
  checkMemory,
  checkPlaceOf,
  historyOf,
  inputOf,
  openDb,
  outputOf,
  readLogs,
  serviceOf,
  type TrainingInput,
  type TrainingSetOptions,
  trainingSet,
  trainingSetFile,
  withoutRoom,
} from '../make-training-set.ts';
import { MEMORY_DEFAULT_BYTES } from '../memory-limits.ts';
import { keyColumn, readSpine, type SpineOptions } from '../spine.ts';
import type { TableInput } from '../table-relation.ts';
import { writeTrainingTable } from '../training-file.ts';
import { checkNames, metadataOf, type TrainingSummary } from '../training-set.ts';
import { type TrainingTable, trainingTable } from '../training-table.ts';
import { typedColumn } from '../typed-column.ts';
import { fileIdentity, temporaryWork } from '../work-directory.ts';
import { eventIdSql, matchEvents } from './decided-events.ts';
import { type DecisionLogFiles, decisionLogFiles } from './decision-files.ts';
import { checkRequestData, DECISION, withOptionalRequest } from './decision-spine.ts';
import {
  countLeftOut,
  DECISIONS,
  jsonField,
  LEFT_OUT,
  type LeftOut,
  readDecisions,
} from './decision-table.ts';
import { restoreKeys } from './hashed-keys.ts';
import { joinLabels, LABELLED, type LabelOptions, type LabelSummary } from './labels.ts';
import { loggedValues } from './logged-values.ts';

type FromTrainingSet =
  | 'repo'
  | 'service'
  | 'prefix'
  | 'memoryBytes'
  | 'threads'
  | 'threadModule'
  | 'onProgress'
  | 'eventSource';

export interface DecisionTrainingOptions extends Pick<TrainingSetOptions, FromTrainingSet>, LabelOptions {
  /** The decision log: its folder, a file or a pattern. */
  readonly decisions: string;
  /** Rows with an event id and labels: a file, a folder or a pattern, or a table. @default no labels are joined */
  readonly labels?: TrainingInput;
  /** What features are computed from. @default features are the values that were answered */
  readonly history?: TrainingSetOptions['history'];
  /** What keys were hashed with. @default with a history, decisions with hashed keys are left out; else hashes stay */
  readonly secret?: string | null;
}

export interface DecisionTrainingFileOptions extends DecisionTrainingOptions {
  /** As of a training set. */
  readonly out: string;
  readonly work?: string;
}

export interface DecisionTrainingSummary {
  /** Records in the log, and of the service. */
  readonly records: number;
  readonly ofService: number;
  readonly openFiles: number;
  readonly leftOut: ReadonlyMap<LeftOut, number>;
  /** Decisions about an event that another one before them was about. */
  readonly repeated: number;
  /** Decisions about no event, or about one of another source, where only those of one are wanted. */
  readonly withoutEvent: number;
  /** Rows of the training set. */
  readonly rows: number;
  /** null: no labels were joined. */
  readonly labels: LabelSummary | null;
  /** By entity: hashes that no key of the history has; their features are those of a key without events. */
  readonly unknownKeys: ReadonlyMap<string, number>;
  /** Decided events that were recorded and are not in the history. */
  readonly missingEvents: number;
  /** Of logged values, by feature and status: those that are null as nothing can be learned from them. */
  readonly notLearnable: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/**
 * In memory.
 * @throws InputError where decisions, labels or a history cannot be used
 */
export async function decisionTrainingSet(options: DecisionTrainingOptions): Promise<Arrow.Table> {
  const { history } = options;
  return withDecisions(options, async ({ db, service, spine, close }) => {
    if (history === undefined) {
      const { table } = await loggedTable(db, service, spine, options.prefix ?? '');
      return arrowTable(db, table);
    }
    close();
    return trainingSet({ ...options, ...spine.options, spine: spine.file, history });
  });
}

/**
 * As a file.
 * @throws InputError as `decisionTrainingSet`, and where the file cannot be written
 */
export async function decisionTrainingSetFile(options: DecisionTrainingFileOptions): Promise<{
  readonly decisions: DecisionTrainingSummary;
  /** null: the values are those that were logged. */
  readonly training: (TrainingSummary & { readonly resumed: boolean }) | null;
}> {
  const { history, out } = options;
  const output = outputOf(out);
  await checkPlaceOf(output.file);
  const identity = await decisionIdentity(options);
  return withDecisions(options, async ({ db, service, spine, summary, close }) => {
    if (history === undefined) {
      const { table, notLearnable } = await loggedTable(db, service, spine, options.prefix ?? '');
      options.onProgress?.({ phase: 'writing', share: 0.93, rows: summary.rows });
      await writeTrainingTable(db, table, output);
      return { decisions: { ...summary, notLearnable }, training: null };
    }
    close();
    const training = await trainingSetFile(
      { ...options, ...spine.options, spine: spine.file, history },
      identity,
    );
    return { decisions: summary, training };
  });
}

/** What makes the rows others: the same command goes on with what is there of them. */
async function decisionIdentity(options: DecisionTrainingFileOptions): Promise<unknown> {
  const { labels, decisions, labelId, labelTime, labelColumns, labelWindowMs, untilMs, secret } = options;
  const identities = async (files: readonly string[]): Promise<unknown> =>
    Promise.all(files.map((file) => fileIdentity(resolve(file))));
  const input = labels === undefined ? null : await inputOf(labels);
  return {
    decisions: await identities((await decisionLogFiles(decisions)).files),
    // A table in memory is not known again.
    labels: input === null ? null : 'files' in input ? await identities(input.files) : randomUUID(),
    columns: { id: labelId, time: labelTime, labels: labelColumns },
    ...{ window_ms: labelWindowMs, until_ms: untilMs },
    secret: secret == null ? null : new KeyHash(secret).secretId,
  };
}

interface Spine {
  readonly file: string;
  readonly options: SpineOptions;
}

interface Tools {
  readonly db: DuckDb;
  readonly service: CompiledService;
  readonly files: DecisionLogFiles;
  readonly labels: TableInput | null;
  readonly workDir: string;
}

interface Prepared extends Tools {
  readonly spine: Spine;
  readonly summary: DecisionTrainingSummary;
  /** Nothing more is needed of the database: its memory is another's. Idempotent. */
  close(): void;
}

async function withDecisions<T>(
  options: DecisionTrainingOptions,
  use: (prepared: Prepared) => Promise<T>,
): Promise<T> {
  const service = serviceOf(options.repo, options.service);
  const { memoryBytes = MEMORY_DEFAULT_BYTES, threads = availableParallelism() } = options;
  checkMemory(memoryBytes);
  const files = await decisionLogFiles(options.decisions);
  const labels = options.labels === undefined ? null : await inputOf(options.labels);
  const work = await temporaryWork();
  try {
    const db = await openDb(work, Math.floor((memoryBytes * 2) / 3), threads);
    let isOpen = true;
    const close = (): void => {
      if (isOpen) db.close();
      isOpen = false;
    };
    try {
      const tools = { db, service, files, labels, workDir: work.dir };
      return await use({ ...tools, ...(await prepare(options, tools)), close });
    } finally {
      close();
    }
  } catch (error) {
    throw withoutRoom(error, work.dir, work.dir);
  } finally {
    await work.remove();
  }
}

/** Reads, joins, and writes the spine. */
async function prepare(
  options: DecisionTrainingOptions,
  { db, service, files, labels: labelInput, workDir }: Tools,
): Promise<Pick<Prepared, 'spine' | 'summary'>> {
  const { history, secret = null } = options;
  const hash = secret === null ? null : new KeyHash(secret);
  const isLogged = history === undefined;
  options.onProgress?.({ phase: 'reading the decisions', share: 0, rows: 0 });
  const found = await readDecisions({
    ...{ db, service, files, hash, sample: null },
    ...{ keepsHashes: isLogged, values: isLogged },
  });
  if (found.ofService === 0) {
    throw new InputError(
      `${files.path}: none of the ${found.records} records is of the service '${service.name}'`,
    );
  }
  let unknownKeys = new Map<string, number>();
  let missingEvents = 0;
  // Logged values need no request data: it is carried through.
  await checkRequestData(db, isLogged ? withOptionalRequest(service) : service);
  if (!isLogged) {
    const histories = new Map<string, EventHistory>();
    const read = await readLogs(options.repo, await historyOf(service, history), workDir);
    for (const [name, input] of read.history) {
      const { source } = service.views.find(({ view }) => view.source.name === name)!.view;
      histories.set(name, await EventHistory.open(db, source, input, workDir));
    }
    if (hash !== null) unknownKeys = await restoreKeys(db, service, histories, hash);
    missingEvents = await matchEvents(db, service, histories);
  }
  const leftOut = await countLeftOut(db, found.leftOut);
  if ((await rowsOf(db, `${DECISIONS} WHERE left_out IS NULL`)) === 0)
    throw noneUsable(files, service, [...leftOut]);
  const source = await eventSourceOf(db, service, options);
  const chosen = await choose(db, service, source, labelInput !== null || options.eventSource !== undefined);
  let columns: readonly string[] = [];
  let labels: LabelSummary | null = null;
  if (labelInput !== null) {
    if (source === null)
      throw new InputError(
        `${files.path}: no decision of the service '${service.name}' is about an event with an id: there is nothing to join labels by`,
      );
    const joined = await joinLabels(db, labelInput, { decisions: `FROM ${CHOSEN}`, source }, options);
    await db.run(`DELETE FROM ${CHOSEN} WHERE n IN (SELECT n FROM too_young)`);
    columns = joined.columns;
    labels = joined.summary;
  }
  const rows = await rowsOf(db, CHOSEN);
  if (rows === 0)
    throw noneUsable(files, service, [
      ...leftOut,
      ...(labels === null ? [] : [['younger than the label window', labels.tooYoung] as const]),
      ['about no event', chosen.withoutEvent],
    ]);
  const spine = await writeSpine(db, service, {
    source,
    labels: columns,
    file: join(workDir, 'decisions.parquet'),
  });
  return {
    spine,
    summary: {
      ...{ records: found.records, ofService: found.ofService, openFiles: files.open, leftOut },
      ...{ ...chosen, rows, labels, unknownKeys, missingEvents, notLearnable: new Map() },
    },
  };
}

async function rowsOf(db: DuckDb, relation: string): Promise<number> {
  return Number((await db.row(`SELECT count(*) AS n FROM ${relation}`)).n);
}

function noneUsable(
  { path }: DecisionLogFiles,
  { name }: CompiledService,
  reasons: readonly (readonly [why: string, count: number])[],
): InputError {
  const why = reasons
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${LEFT_OUT[reason as LeftOut] ?? reason} (${count})`);
  return new InputError(`${path}: no decision of the service '${name}' can be used: ${why.join('; ')}`);
}

/** Decisions that become rows: `n`, `at_ms` and the event's `id`. */
const CHOSEN = 'chosen';

/** The source whose events the decisions are about; null: of none with an id. */
async function eventSourceOf(
  db: DuckDb,
  service: CompiledService,
  { eventSource }: DecisionTrainingOptions,
): Promise<StreamSource | null> {
  const sources = new Map(service.views.map(({ view: { source } }) => [source.name, source]));
  if (eventSource !== undefined) {
    const source = sources.get(eventSource);
    if (source !== undefined && source.eventId !== null) return source;
    throw new InputError(`the service reads no source '${eventSource}' that has event ids (--event-source)`);
  }
  const found = await db.rows(
    `SELECT DISTINCT event.source AS source FROM ${DECISIONS} WHERE left_out IS NULL AND event.id IS NOT NULL ORDER BY 1`,
  );
  if (found.length > 1) {
    throw new InputError(
      `the decisions are about events of several sources: name one of ${found.map(({ source }) => source).join(', ')} (--event-source)`,
    );
  }
  return found.length === 0 ? null : (sources.get(String(found[0]!.source)) ?? null);
}

/** @param aboutEvents whether decisions about no event of the source are left out */
async function choose(
  db: DuckDb,
  service: CompiledService,
  source: StreamSource | null,
  aboutEvents: boolean,
): Promise<{ readonly repeated: number; readonly withoutEvent: number }> {
  const isAbout =
    source === null
      ? 'false'
      : `coalesce(event.source = ${text(source.name)} AND event.id IS NOT NULL, false)`;
  const id =
    source === null
      ? 'CAST(NULL AS VARCHAR)'
      : `CASE WHEN ${isAbout} THEN ${eventIdSql(service, source.name)} END`;
  await db.run(
    `CREATE OR REPLACE TABLE ${CHOSEN} AS SELECT n, at_ms, answered_ms, record, ${isAbout} AS about, ${id} AS id FROM ${DECISIONS} WHERE left_out IS NULL`,
  );
  const count = async (condition: string): Promise<number> => {
    const { n } = await db.row(`SELECT count(*) AS n FROM ${CHOSEN} WHERE ${condition}`);
    await db.run(`DELETE FROM ${CHOSEN} WHERE ${condition}`);
    return Number(n);
  };
  const withoutEvent = aboutEvents ? await count('NOT about') : 0;
  // The first answer is what was known when the event was decided; what comes later repeats it, or looks back.
  const repeated = await count(
    `n IN (SELECT n FROM ${CHOSEN} WHERE about QUALIFY row_number() OVER (PARTITION BY id ORDER BY answered_ms, record) > 1)`,
  );
  return { repeated, withoutEvent };
}

const TIE = '~tie';

async function writeSpine(
  db: DuckDb,
  service: CompiledService,
  of: { readonly source: StreamSource | null; readonly labels: readonly string[]; readonly file: string },
): Promise<Spine> {
  const { source, labels, file } = of;
  const entities = service.entities.map(({ name }) => name);
  const own = source?.eventId ?? null;
  const eventId = own !== null && entities.includes(own) ? 'event_id' : own;
  const taken = new Set(['decision', 'decided_at', ...entities, ...(eventId === null ? [] : [eventId])]);
  const request = Object.keys(service.request);
  const requestPrefix = request.some((name) => taken.has(name)) ? 'request_' : '';
  for (const name of request) taken.add(`${requestPrefix}${name}`);
  const lower = new Set([...taken].map((name) => name.toLowerCase()));
  const both = labels.filter((name) => lower.has(name.toLowerCase()) || name.startsWith('~'));
  if (both.length > 0) {
    throw new InputError(
      `${both.map((name) => `'${name}'`).join(', ')} would be there twice, of a decision and of its label: name the columns that are labels (--label-columns)`,
    );
  }
  const columns = [
    `d.record AS decision`,
    ...(eventId === null ? [] : [`c.id AS ${quoted(eventId)}`]),
    `(epoch_ms(d.at_ms) AT TIME ZONE 'UTC') AS decided_at`,
    ...entities.map((name) => `d.${quoted(keyColumn(name))} AS ${quoted(name)}`),
    ...Object.entries(service.request).map(([name, { type }]) => {
      const { value } = typedColumn(
        { type, nullable: true },
        jsonField('d.request_data', name, '->'),
        'json',
      )!;
      const shown = type === 'timestamp' ? `(epoch_ms(${value}) AT TIME ZONE 'UTC')` : value;
      return `${shown} AS ${quoted(`${requestPrefix}${name}`)}`;
    }),
    ...labels.map((name) => `l.${quoted(name)}`),
    `d.n AS ${quoted(DECISION)}`,
    ...(source === null ? [] : [`CASE WHEN d.event.time_ms = d.at_ms THEN c.id END AS ${quoted(TIE)}`]),
  ];
  const joined = labels.length === 0 ? '' : `LEFT JOIN ${LABELLED} l ON l.n = c.n`;
  await db.run(
    `COPY (SELECT ${columns.join(', ')} FROM ${CHOSEN} c JOIN ${DECISIONS} d ON d.n = c.n ${joined} ORDER BY d.n) TO ${text(file)} (FORMAT parquet)`,
  );
  return {
    file,
    options: {
      ...{ time: 'decided_at', requestPrefix, hidden: [DECISION, TIE] },
      ...(source === null ? { eventId: null } : { eventId: TIE, eventSource: source.name }),
    },
  };
}

/** Of the values as they were answered. */
async function loggedTable(
  db: DuckDb,
  service: CompiledService,
  { file, options }: Spine,
  prefix: string,
): Promise<{
  readonly table: TrainingTable;
  readonly notLearnable: DecisionTrainingSummary['notLearnable'];
}> {
  const input: TableInput = { path: 'the decisions', format: 'parquet', files: [file] };
  const spine = await readSpine(db, withOptionalRequest(service), input, options);
  checkNames(spine, service, prefix, 'the decisions');
  const { views, onDemand, notLearnable } = await loggedValues(db, service);
  const metadata = metadataOf(service, spine, new Map(), new Map());
  metadata.set('millrace.values', 'logged');
  const table = await trainingTable({
    ...{ db, service, spineColumns: spine.columns, views, onDemand, prefix, metadata },
  });
  return { table, notLearnable };
}
