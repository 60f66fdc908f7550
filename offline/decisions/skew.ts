/**
 * Proof of no skew: answers of a decision log, computed again by the training set's own code from a history, and compared.
 *
 *     decision log ─► sample ─► keys, events, request data ─► spine ─► training set ─┐
 *                        └──────────────── values as they were answered ─────────────┴─► differences, by feature
 */
import { availableParallelism } from 'node:os';
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';
import type { CompiledRepo, CompiledService } from '../../engine/definitions/compiled.ts';
import type { FeatureReference, OnDemandFeature } from '../../engine/definitions/types.ts';
import { KeyHash } from '../../serve/decision-log/key-hash.ts';
import { transported } from '../column-buffer.ts';
import { type DuckDb, quoted } from '../duckdb.ts';
import { type EvaluationPool, evaluationPool } from '../evaluation-pool.ts';
import type { EvaluationThreadModule } from '../evaluation-thread.ts';
import { EventHistory } from '../event-history.ts';
import { InputError } from '../input-error.ts';
import {
  checkMemory,
  historyOf,
  openDb,
  readLogs,
  serviceOf,
  type TrainingSetOptions,
  withoutRoom,
} from '../make-training-set.ts';
import { MEMORY_DEFAULT_BYTES } from '../memory-limits.ts';
import { forgetValues, prepareTrainingSet, type TrainingProgress } from '../training-set.ts';
import type { TrainingTable } from '../training-table.ts';
import { temporaryWork } from '../work-directory.ts';
import { matchEvents } from './decided-events.ts';
import { decisionLogFiles } from './decision-files.ts';
import { checkRequestData, DECISION, decisionSpines, withOptionalRequest } from './decision-spine.ts';
import { countLeftOut, DECISIONS, type LeftOut, readDecisions } from './decision-table.ts';
import { restoreKeys } from './hashed-keys.ts';
import { findLateEvents, LATE } from './late-events.ts';
import {
  SKEW_LAG_DEFAULT_MS,
  SKEW_ROWS_DEFAULT,
  SKEW_SEED_DEFAULT,
  SKEW_TOLERANCE_DEFAULT,
} from './skew-defaults.ts';
import { type ValueDifference, valueDifference } from './value-difference.ts';

export interface SkewOptions {
  readonly repo: CompiledRepo;
  readonly service: string;
  /** The decision log: its folder, a file or a pattern. */
  readonly decisions: string;
  /** As for a training set. */
  readonly history: TrainingSetOptions['history'];
  /** Answers that are looked at; all where there are fewer. @default 10,000 */
  readonly rows?: number;
  /** The same seed takes the same answers. @default 1 */
  readonly seed?: number;
  /** Of doubles, relative to the larger one; all else must be equal. @default 1e-9 */
  readonly tolerance?: number;
  /**
   * An answer may lack events that were appended less than this before it, ms; only a history that says when they were
   * appended (`_appended_at`) is asked. @default 100
   */
  readonly lagMs?: number;
  /** What keys were hashed with. @default decisions with hashed keys are left out */
  readonly secret?: string | null;
  /** As for a training set. */
  readonly memoryBytes?: number;
  readonly threads?: number;
  readonly threadModule?: EvaluationThreadModule;
  readonly onProgress?: (progress: TrainingProgress) => void;
}

/** Of all values of a feature that differ, the one that does so most. */
export interface WorstDifference {
  /** null: not by a number. */
  readonly absolute: number | null;
  readonly relative: number | null;
  readonly record: string;
  readonly request: string | null;
  readonly row: number | null;
  readonly atMs: number;
  /** Both as JSON; null for texts, lists and maps, which may hold keys. */
  readonly logged: string | null;
  readonly computed: string | null;
}

export interface FeatureSkew {
  readonly feature: string;
  /** As the catalogue shows it. */
  readonly type: string;
  /** `equal` and `differing` together. */
  readonly compared: number;
  readonly equal: number;
  readonly differing: number;
  /** `equal` of `compared`; null: none was compared. */
  readonly matchRate: number | null;
  /** Values that differ where events arrived too late for the answer: counted in none of those. */
  readonly late: number;
  /** Values that are no values to compare with, by their status; `beyond_64_bits`: no training set has them. */
  readonly notCompared: ReadonlyMap<string, number>;
  readonly worst: WorstDifference | null;
}

export interface SkewReport {
  readonly service: string;
  /** Identity of each view, by name. */
  readonly views: ReadonlyMap<string, string>;
  readonly rows: number;
  readonly seed: number;
  readonly tolerance: number;
  readonly lagMs: number;
  readonly files: number;
  /** Files that are still being written, and were not looked at. */
  readonly openFiles: number;
  readonly decisions: {
    /** Records in the files. */
    readonly records: number;
    readonly ofService: number;
    readonly sampled: number;
    /** Of these, decisions that were computed again. */
    readonly computed: number;
    readonly leftOut: ReadonlyMap<LeftOut, number>;
  };
  /** By entity: hashes that no key of the history has; computed as without events. */
  readonly unknownKeys: ReadonlyMap<string, number>;
  /** Decided events that were recorded and are not in the history. */
  readonly missingEvents: number;
  /** Decisions that are later than every event of the history. */
  readonly afterHistory: number;
  /** Whether the history says when events arrived. */
  readonly knowsArrivals: boolean;
  readonly features: readonly FeatureSkew[];
  /** The least of the features'; null: nothing was compared. */
  readonly matchRate: number | null;
}

const DIFFERENCES = 'differences';

/** @throws InputError where decisions or a history cannot be used */
export async function featureSkew(options: SkewOptions): Promise<SkewReport> {
  const service = serviceOf(options.repo, options.service);
  const { memoryBytes = MEMORY_DEFAULT_BYTES, threads = availableParallelism(), threadModule } = options;
  checkMemory(memoryBytes);
  const work = await temporaryWork();
  try {
    const db = await openDb(work, Math.floor((memoryBytes * 2) / 3), threads);
    try {
      const pool = evaluationPool(options.repo, threads, threadModule);
      try {
        return await skewOf(options, { db, service, pool, workDir: work.dir });
      } finally {
        await pool.close();
      }
    } finally {
      db.close();
    }
  } catch (error) {
    throw withoutRoom(error, work.dir, work.dir);
  } finally {
    await work.remove();
  }
}

interface Tools {
  readonly db: DuckDb;
  readonly service: CompiledService;
  readonly pool: EvaluationPool;
  readonly workDir: string;
}

async function skewOf(options: SkewOptions, { db, service, pool, workDir }: Tools): Promise<SkewReport> {
  const {
    rows = SKEW_ROWS_DEFAULT,
    seed = SKEW_SEED_DEFAULT,
    tolerance = SKEW_TOLERANCE_DEFAULT,
    lagMs = SKEW_LAG_DEFAULT_MS,
    secret = null,
    onProgress = () => {},
  } = options;
  const hash = secret === null ? null : new KeyHash(secret);
  const files = await decisionLogFiles(options.decisions);
  const { history: inputs, logged } = await readLogs(
    options.repo,
    await historyOf(service, options.history),
    workDir,
  );
  onProgress({ phase: 'reading the decisions', share: 0, rows: 0 });
  const found = await readDecisions({
    db,
    service,
    files,
    hash,
    keepsHashes: false,
    values: true,
    sample: { rows, seed },
  });
  if (found.ofService === 0) {
    throw new InputError(
      `${files.path}: none of the ${found.records} records is of the service '${service.name}'`,
    );
  }
  const histories = new Map<string, EventHistory>();
  for (const [name, input] of inputs) {
    const { source } = service.views.find(({ view }) => view.source.name === name)!.view;
    histories.set(name, await EventHistory.open(db, source, input, workDir));
  }
  const unknownKeys =
    hash === null ? new Map<string, number>() : await restoreKeys(db, service, histories, hash);
  const asked = withOptionalRequest(service);
  await checkRequestData(db, asked);
  const missingEvents = await matchEvents(db, service, histories);
  const leftOut = await countLeftOut(db, found.leftOut);

  const comparison = new Comparison(db, service, tolerance);
  await comparison.begin();
  let lastMs: number | null = null;
  let done = 0;
  for await (const { input, options: spineOptions } of decisionSpines(db, service, workDir)) {
    await forgetValues(db, service);
    const { table, summary } = await prepareTrainingSet({
      ...{ db, service: asked, pool, workDir, spineOptions, history: histories, logged },
      ...{ spine: input, prefix: '~feature ' },
      onProgress: (progress) => onProgress({ ...progress, rows: done + progress.rows }),
    });
    for (const { lastMs: last } of summary.histories.values())
      if (last !== null) lastMs = Math.max(lastMs ?? last, last);
    await comparison.add(table);
    done += summary.rows;
  }
  const { features, knowsArrivals } = await comparison.finish(histories, lagMs);
  const rates = features.flatMap(({ matchRate }) => (matchRate === null ? [] : [matchRate]));
  const after = await db.row(
    `SELECT count(*) AS n FROM ${DECISIONS} WHERE left_out IS NULL AND at_ms > ${lastMs ?? Number.MAX_SAFE_INTEGER}`,
  );
  return {
    service: service.name,
    views: new Map(service.views.map(({ view }) => [view.name, view.namespace])),
    ...{ rows, seed, tolerance, lagMs, files: files.files.length, openFiles: files.open },
    decisions: {
      ...{ records: found.records, ofService: found.ofService, sampled: found.rows },
      ...{ computed: done, leftOut },
    },
    ...{ unknownKeys, missingEvents, knowsArrivals, features },
    afterHistory: Number(after.n),
    matchRate: rates.length === 0 ? null : Math.min(...rates),
  };
}

/** Statuses of values that are what the definition says (C9). */
const COMPARED: readonly unknown[] = ['present', 'empty'];
const SCALARS: readonly string[] = ['integer', 'long', 'double', 'boolean', 'timestamp'];

interface Counts {
  equal: number;
  differing: number;
  readonly notCompared: Map<string, number>;
}

/** Compares row by row; what differs goes to a table, as only later it is known where events were late. */
class Comparison {
  readonly #db: DuckDb;
  readonly #service: CompiledService;
  readonly #tolerance: number;
  readonly #counts: readonly Counts[];
  readonly #types: string[] = [];

  constructor(db: DuckDb, service: CompiledService, tolerance: number) {
    this.#db = db;
    this.#service = service;
    this.#tolerance = tolerance;
    this.#counts = service.output.map(() => ({ equal: 0, differing: 0, notCompared: new Map() }));
  }

  async begin(): Promise<void> {
    await this.#db.run(
      `CREATE OR REPLACE TABLE ${DIFFERENCES} (feature INTEGER, n BIGINT, absolute DOUBLE, relative DOUBLE, logged VARCHAR, computed VARCHAR)`,
    );
  }

  /** @param table of a spine of decisions, with the features of the service */
  async add({ columns, from }: TrainingTable): Promise<void> {
    const db = this.#db;
    const computed = columns.filter(({ feature }) => feature !== null);
    const stored = computed.map(({ stored: own }) =>
      own!.transport.tableType === 'VARCHAR' ? transported(own!.sql, 'string') : own!.sql,
    );
    computed.forEach(({ feature }, f) => {
      this.#types[f] = feature!;
    });
    const appender = await db.appender(DIFFERENCES);
    try {
      const rows = db.stream(
        `SELECT d.n, CAST(d.features AS VARCHAR), CAST(d.statuses AS VARCHAR), ${stored.join(', ')}
         FROM ${from()} JOIN ${DECISIONS} d ON d.n = s.${quoted(DECISION)}`,
      );
      for await (const chunk of rows) {
        for (const [n, features, statuses, ...values] of chunk.getRows() as [
          bigint,
          string,
          string,
          ...unknown[],
        ][]) {
          const logged = JSON.parse(features) as Record<string, unknown>;
          const status = JSON.parse(statuses) as Record<string, unknown>;
          computed.forEach(({ stored: own }, f) => {
            const { name } = this.#service.output[f]!;
            if (!Object.hasOwn(logged, name)) return;
            const value = own!.transport.read(values[f] as never);
            const said = Object.hasOwn(status, name) ? status[name] : null;
            const difference = this.#compare(f, own!.transport.pairType, said, logged[name], value);
            if (difference === null) return;
            const isShown = SCALARS.includes(this.#types[f]!);
            appender.appendInteger(f);
            appender.appendBigInt(n);
            for (const number of [difference.absolute, difference.relative]) {
              if (number === null) appender.appendNull();
              else appender.appendDouble(number);
            }
            for (const shown of [logged[name], value]) {
              if (isShown) appender.appendVarchar(String(shown));
              else appender.appendNull();
            }
            appender.endRow();
          });
        }
      }
    } finally {
      appender.closeSync();
    }
  }

  #compare(
    f: number,
    column: string,
    status: unknown,
    logged: unknown,
    computed: FeatureValue,
  ): ValueDifference | null {
    const counts = this.#counts[f]!;
    const type = this.#types[f]!;
    const difference = COMPARED.includes(status)
      ? valueDifference({ type, column }, logged, computed, this.#tolerance)
      : String(status);
    if (typeof difference === 'string') {
      counts.notCompared.set(difference, (counts.notCompared.get(difference) ?? 0) + 1);
      return null;
    }
    if (difference === null) counts.equal++;
    else counts.differing++;
    return difference;
  }

  async finish(
    histories: ReadonlyMap<string, EventHistory>,
    lagMs: number,
  ): Promise<{ readonly features: FeatureSkew[]; readonly knowsArrivals: boolean }> {
    const db = this.#db;
    const service = this.#service;
    await db.run(`CREATE OR REPLACE TABLE feature_views (feature INTEGER, view INTEGER)`);
    for (const [f, { name, view }] of service.output.entries()) {
      const views =
        view === null
          ? viewsOf(service, service.onDemand.find((own) => own.name === name)!)
          : [view.definition];
      for (const own of new Set(views)) {
        const v = service.views.findIndex((other) => other.view.definition === own);
        await db.run(`INSERT INTO feature_views VALUES (${f}, ${v})`);
      }
    }
    const some = `SELECT DISTINCT view, n FROM ${DIFFERENCES} JOIN feature_views USING (feature)`;
    await findLateEvents(db, { service, histories, some, lagMs });
    await db.run(
      `CREATE OR REPLACE TABLE late_differences AS SELECT DISTINCT feature, n FROM ${DIFFERENCES} JOIN feature_views USING (feature) JOIN ${LATE} USING (view, n)`,
    );
    const late = await db.rows('SELECT feature, count(*) AS n FROM late_differences GROUP BY 1');
    const worst = await db.rows(
      `SELECT x.*, d.record, d.request, d.row, d.at_ms FROM ${DIFFERENCES} x ANTI JOIN late_differences USING (feature, n) JOIN ${DECISIONS} d USING (n)
       QUALIFY row_number() OVER (PARTITION BY feature ORDER BY relative DESC NULLS FIRST, absolute DESC NULLS FIRST, n) = 1`,
    );
    const lateOf = new Map(late.map(({ feature, n }) => [Number(feature), Number(n)]));
    const worstOf = new Map(worst.map((row) => [Number(row.feature), worstDifference(row)]));
    const features = service.output.map(({ name }, f): FeatureSkew => {
      const { equal, differing: all, notCompared } = this.#counts[f]!;
      const ofLate = lateOf.get(f) ?? 0;
      const differing = all - ofLate;
      const compared = equal + differing;
      return {
        ...{
          feature: name,
          type: this.#types[f] ?? '',
          compared,
          equal,
          differing,
          late: ofLate,
          notCompared,
        },
        matchRate: compared === 0 ? null : equal / compared,
        worst: worstOf.get(f) ?? null,
      };
    });
    return {
      features,
      knowsArrivals: [...histories.values()].every(({ appendedAt }) => appendedAt !== null),
    };
  }
}

function viewsOf(service: CompiledService, { inputs }: OnDemandFeature): FeatureReference['view'][] {
  return Object.values(inputs).flatMap((input) =>
    input.kind === 'feature_reference' ? [input.view] : viewsOf(service, input),
  );
}

function worstDifference(row: Record<string, unknown>): WorstDifference {
  return {
    absolute: row.absolute as number | null,
    relative: row.relative as number | null,
    record: String(row.record),
    request: row.request as string | null,
    row: row.row as number | null,
    atMs: Number(row.at_ms),
    logged: row.logged as string | null,
    computed: row.computed as string | null,
  };
}
