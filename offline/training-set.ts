/**
 * Training sets: the features of a service for each row of a spine, as of the row's time, from a history of events. The same
 * definitions and the same evaluation as online (`WindowRead` over `KeyHistory`), so that there is nothing to drift apart.
 *
 *     spine ─┐                      ┌─ threads: filter, projections, windows ─┐
 *            ├─► as-of stream of ───┤                                         ├─► values by row ─► on-demand ─► file
 *     events ┘   each view (sorted) └─────────────────────────────────────────┘
 */
import type { CompiledService } from '../engine/definitions/compiled.ts';
import { resultTypeOf } from '../engine/definitions/result-type.ts';
import { asOfStream } from './as-of-stream.ts';
import { columnUse } from './column-use.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { type EvaluationPool, inOrder } from './evaluation-pool.ts';
import { EventHistory, type HistorySurvey } from './event-history.ts';
import { transportOf } from './feature-transport.ts';
import { ColumnNotFetchedError } from './fetched-row.ts';
import type { LoggedHistory } from './history-log.ts';
import { InputError } from './input-error.ts';
import { onDemandValues, type ViewValues } from './on-demand-values.ts';
import { repeatedEvents } from './repeated-events.ts';
import { readSpine, type Spine, type SpineOptions } from './spine.ts';
import type { TableInput } from './table-relation.ts';
import { type TrainingTable, trainingTable } from './training-table.ts';
import { EXPECTED } from './typed-column.ts';
import { ValueTable } from './value-table.ts';

export interface TrainingProgress {
  /** What is under way, as people read it. */
  readonly phase: string;
  /** Of the whole, 0 to 1. */
  readonly share: number;
  /** Rows of the spine that are done, over all views. */
  readonly rows: number;
}

export interface TrainingSetArgs {
  readonly db: DuckDb;
  readonly service: CompiledService;
  readonly spine: TableInput;
  readonly spineOptions: SpineOptions;
  /** By source: where its events are, or what has been opened already. */
  readonly history: ReadonlyMap<string, TableInput | EventHistory>;
  /** Of these, what was read of logs. */
  readonly logged: ReadonlyMap<string, LoggedHistory>;
  readonly pool: EvaluationPool;
  /** For what is staged. */
  readonly workDir: string;
  /** Before the names of features. */
  readonly prefix: string;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** What was seen on the way, by view. */
export interface ViewSummary {
  readonly view: string;
  /** Rows of the spine with a key of the view's entity. */
  rows: number;
  /** Events of their keys that were gone through. */
  events: number;
  /** Of these, events that the filter or a projection failed on. */
  refused: number;
  /** Events of their keys that repeat another under its id. */
  repeated: number;
}

export interface TrainingSummary {
  readonly rows: number;
  readonly withoutKey: ReadonlyMap<string, number>;
  readonly histories: ReadonlyMap<string, HistorySurvey>;
  /** Of histories that are logs. */
  readonly logged: ReadonlyMap<string, LoggedHistory>;
  readonly views: readonly ViewSummary[];
  /** Rows for which an on-demand feature failed: its value is null. */
  readonly errors: ReadonlyMap<string, number>;
}

/** Share of the work that comes before the first row, and behind the last. */
const PREPARING_SHARE = 0.1;
const WRITING_SHARE = 0.15;

/** @throws InputError where the spine or a history cannot be used */
export async function prepareTrainingSet(
  args: TrainingSetArgs,
): Promise<{ readonly table: TrainingTable; readonly summary: TrainingSummary }> {
  const { db, service, onProgress, prefix } = args;
  onProgress({ phase: 'reading the spine', share: 0, rows: 0 });
  const spine = await readSpine(db, service, args.spine, args.spineOptions);
  checkNames(spine, service, prefix, args.spine.path);
  onProgress({ phase: 'looking through the history', share: PREPARING_SHARE / 2, rows: 0 });
  const histories = await openHistories(args);
  const surveys = surveysOf(histories);
  const values: ViewValues[] = [];
  const views: ViewSummary[] = [];
  for (const [v, view] of service.views.entries()) {
    const table = new ValueTable(db, `values ${view.view.name}`, view.features.map(transportOf));
    values.push({ view, table });
    views.push(await fillView(args, spine, histories.get(view.view.source.name)!, { view, table }, v));
  }
  const errors = new Map<string, number>();
  let onDemand: ValueTable | null = null;
  if (service.onDemand.length > 0) {
    const phase = 'on-demand features';
    const from = 1 - WRITING_SHARE;
    onProgress({ phase, share: from, rows: 0 });
    const found = await onDemandValues(db, service, values, args.pool, (rows) => {
      onProgress({ phase, share: from + (WRITING_SHARE / 2) * (rows / spine.rows), rows });
    });
    onDemand = found.table;
    for (const [name, count] of found.errors) errors.set(name, count);
  }
  const metadata = metadataOf(service, spine, surveys, args.logged);
  const table = await trainingTable({
    db,
    service,
    spineColumns: spine.columns,
    views: values,
    onDemand,
    prefix,
    metadata,
  });
  const { rows, withoutKey } = spine;
  const summary = { rows, withoutKey, histories: surveys, logged: args.logged, views, errors };
  return { table, summary };
}

/** Takes the values out of the database, so that another spine of the service begins anew. */
export async function forgetValues(db: DuckDb, service: CompiledService): Promise<void> {
  for (const { view } of service.views) await db.run(`DROP TABLE IF EXISTS ${quoted(`values ${view.name}`)}`);
  await db.run('DROP TABLE IF EXISTS "$finished"');
}

export function checkNames(spine: Spine, service: CompiledService, prefix: string, path: string): void {
  const taken = new Set(spine.columns.map((name) => name.toLowerCase()));
  const both = service.output
    .map(({ name }) => `${prefix}${name}`)
    .filter((name) => taken.has(name.toLowerCase()));
  if (both.length === 0) return;
  throw new InputError(
    `${path}: ${both.map((name) => `'${name}'`).join(', ')} would be there twice, as a column of the spine and as a feature: give features a prefix (--prefix)`,
  );
}

async function openHistories({
  db,
  service,
  history,
  workDir,
}: TrainingSetArgs): Promise<Map<string, EventHistory>> {
  const histories = new Map<string, EventHistory>();
  for (const source of new Set(service.views.map(({ view }) => view.source))) {
    const input = history.get(source.name);
    if (input === undefined) throw new InputError(`there is no history of the source '${source.name}'`);
    const opened =
      input instanceof EventHistory ? input : await EventHistory.open(db, source, input, workDir);
    histories.set(source.name, opened);
  }
  return histories;
}

/** @throws InputError where no event of a source can be used */
function surveysOf(histories: ReadonlyMap<string, EventHistory>): Map<string, HistorySurvey> {
  for (const [name, { source, survey }] of histories) {
    const refused = [...survey.refused.values()].reduce((sum, count) => sum + count, 0);
    if (survey.events === 0 || refused < survey.events) continue;
    throw new InputError(
      `no row of the history of '${name}' can be used: ${[...survey.refused].map(([column, count]) => `'${column}' is missing or not ${EXPECTED[source.columns[column]!.type]} in ${count}`).join(', ')}`,
    );
  }
  return new Map([...histories].map(([name, { survey }]) => [name, survey]));
}

async function fillView(
  args: TrainingSetArgs,
  spine: Spine,
  history: EventHistory,
  { view: { view, features }, table }: ViewValues,
  v: number,
): Promise<ViewSummary> {
  const { db, service, pool, onProgress } = args;
  const summary: ViewSummary = { view: view.name, rows: 0, events: 0, refused: 0, repeated: 0 };
  const share = (1 - PREPARING_SHARE - WRITING_SHARE) / service.views.length;
  const base = PREPARING_SHARE + share * v;
  onProgress({ phase: `${view.name}: sorting`, share: base, rows: summary.rows });
  const keys = Number((await db.row(`SELECT count(*) AS n FROM ${quoted(`keys ${view.entity.name}`)}`)).n);
  const use = await columnUse(db, view, history);
  const repeats = await repeatedEvents(db, view, history);
  summary.repeated = repeats?.count ?? 0;
  let fetched = use.fetched;
  for (;;) {
    const fromKey = await table.resume();
    if (fromKey === null) return summary;
    pool.begin({
      kind: 'view',
      view: view.name,
      namespace: view.namespace,
      features: features.map(({ name }) => name),
      fetched,
    });
    const stream = asOfStream({
      db,
      view,
      features,
      history,
      spine,
      fetched,
      fromKey,
      repeats: repeats?.table ?? null,
      filter: use.filter,
    });
    try {
      await inOrder(
        pool,
        stream,
        (batch) => pool.view(batch),
        async (rows) => {
          await table.append(rows);
          summary.rows += rows.places.length;
          summary.refused += rows.refused;
          summary.events += rows.events;
          const key = rows.keys.at(-1) ?? 0;
          onProgress({ phase: view.name, share: base + share * ((key + 1) / keys), rows: summary.rows });
        },
      );
      await table.finish();
      return summary;
    } catch (error) {
      if (!(error instanceof ColumnNotFetchedError)) throw error;
      // A closure reads it only for some events: from the start again, with it.
      const names = Object.keys(view.source.columns);
      fetched = names.filter((name) => name === error.column || fetched.includes(name));
      Object.assign(summary, { rows: 0, events: 0, refused: 0 });
      await table.create();
    }
  }
}

export function metadataOf(
  service: CompiledService,
  spine: Spine,
  surveys: ReadonlyMap<string, HistorySurvey>,
  logged: ReadonlyMap<string, LoggedHistory>,
): Map<string, string> {
  const views = service.views.map(({ view }) => [
    view.name,
    { namespace: view.namespace, fingerprint: view.fingerprint },
  ]);
  const types = new Map<string, string>([
    ...service.views.flatMap(({ features }) =>
      features.map((feature): [string, string] => [feature.name, resultTypeOf(feature)]),
    ),
    ...service.onDemand.map(({ name, type }): [string, string] => [name, type]),
  ]);
  const histories = [...surveys].map(([name, { events, refused, firstMs, lastMs }]) => [
    name,
    {
      ...{ events, refused: Object.fromEntries(refused), first_ms: firstMs, last_ms: lastMs },
      ...(logged.has(name) ? { log: logMetadata(logged.get(name)!) } : {}),
    },
  ]);
  return new Map([
    ['millrace.service', service.name],
    ['millrace.views', JSON.stringify(Object.fromEntries(views))],
    [
      'millrace.features',
      JSON.stringify(service.output.map(({ name }) => ({ name, type: types.get(name) }))),
    ],
    ['millrace.history', JSON.stringify(Object.fromEntries(histories))],
    [
      'millrace.spine',
      JSON.stringify({ rows: spine.rows, time: spine.time, event_id: spine.eventId?.column ?? null }),
    ],
  ]);
}

/** Which part of the log it was made from, and what the log had lost. */
const logMetadata = ({ offsets, gone }: LoggedHistory): object => ({
  offsets: offsets.map(({ startOffset, endOffset }) => [startOffset, endOffset]),
  gone,
});
