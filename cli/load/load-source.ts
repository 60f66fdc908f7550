/**
 * One load of one batch source:
 *
 * 1. A load that another process has left behind is pushed to its end.
 * 2. What the table has and the history has not is written down, with the ids it will have.
 * 3. It is pushed; every some thousand facts it is written down how far. When all is acknowledged it is history.
 *
 * Killed at any moment, the next load goes on from there: what was pushed and not written down as pushed is pushed again,
 * under the same ids, by which it is known.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DirectoryLockedError, lockDirectory } from '../../engine/store/directory-lock.ts';
import { DuckDb, isOutOfMemory, isOutOfRoom } from '../../offline/duckdb.ts';
import { type BatchSource, factTable } from '../../offline/fact-table.ts';
import { InputError } from '../../offline/input-error.ts';
import { LoadedFacts, type PendingFacts, type TableSurvey } from '../../offline/loaded-facts.ts';
import { CliError } from '../cli-error.ts';
import type { HttpClient } from '../http-client.ts';
import type { SendTotals } from '../replay/event-sender.ts';
import { checkServer } from '../replay/replay.ts';
import { FactPush } from './fact-push.ts';

/** Refused facts of a load that are remembered one by one. */
const REFUSED_MAX = 10_000;

export interface LoadSourceOptions {
  readonly source: BatchSource;
  readonly client: HttpClient;
  /** Folder of the states of all sources. */
  readonly state: string;
  /** Where relative paths of the definitions begin. */
  readonly featuresDir: string;
  readonly batch: number;
  readonly inFlight: number;
  readonly memoryBytes: number;
  /** Push what was loaded before once more. */
  readonly again: boolean;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: LoadProgress) => void;
}

export interface LoadProgress {
  readonly phase: 'going on' | 'once more' | 'reading the table' | 'pushing';
  /** Of the facts of this phase. */
  readonly done: number;
  readonly facts: number;
}

export interface LoadSummary {
  /** null: it was stopped before. */
  readonly table: TableSurvey | null;
  /** New or changed. */
  readonly found: number;
  readonly totals: SendTotals;
  readonly stopped: boolean;
}

/** @throws CliError where the table cannot be read or the server does not take facts; what was done until then is kept */
export async function loadSource(options: LoadSourceOptions): Promise<LoadSummary> {
  const { source, state, client } = options;
  await checkServer(client, source.name);
  const dir = join(state, source.name);
  const lock = await lockDirectory(dir).catch((error: unknown) => {
    if (error instanceof DirectoryLockedError) {
      throw new CliError(
        `another process loads ${source.name} with the state ${dir}: only one may (--state)`,
        {
          cause: error,
        },
      );
    }
    throw new CliError(`the state folder ${dir} cannot be made (${codeOf(error)}): name another (--state)`, {
      cause: error,
    });
  });
  try {
    const facts = openFacts(dir, source);
    try {
      return await loadOpened(facts, options);
    } finally {
      facts.close();
    }
  } finally {
    await lock.release();
  }
}

const codeOf = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code ?? (error instanceof Error ? error.message : String(error));

function openFacts(dir: string, source: BatchSource): LoadedFacts {
  try {
    return new LoadedFacts(dir, source);
  } catch (error) {
    throw new CliError(`the state folder ${dir} cannot be used (${codeOf(error)}): name another (--state)`, {
      cause: error,
    });
  }
}

async function loadOpened(facts: LoadedFacts, options: LoadSourceOptions): Promise<LoadSummary> {
  const { source, featuresDir, memoryBytes, signal, again, nowMs, onProgress } = options;
  const db = await DuckDb.open({ memoryBytes, threads: availableParallelism(), spillDir: facts.workDir });
  const interrupt = (): void => db.connection.interrupt();
  signal.addEventListener('abort', interrupt);
  const push = new FactPush({ ...options, source: source.name });
  let table: TableSurvey | null = null;
  let found = 0;
  const summary = (stopped: boolean): LoadSummary => ({ table, found, totals: push.totals, stopped });
  try {
    if (again && !(await pushAgain(facts, db, push, onProgress))) return summary(true);
    const left = await facts.pending(db);
    if (left !== null && !(await pushPending(facts, db, push, left, 'going on', onProgress)))
      return summary(true);
    if (signal.aborted) return summary(true);
    onProgress({ phase: 'reading the table', done: 0, facts: 0 });
    const rows = await factTable(db, source, { baseDir: featuresDir, workDir: facts.workDir });
    table = await facts.findNew(db, rows, nowMs());
    const pending = await facts.pending(db);
    if (pending === null) return summary(false);
    found = pending.facts;
    return summary(!(await pushPending(facts, db, push, pending, 'pushing', onProgress)));
  } catch (error) {
    if (signal.aborted) return summary(true);
    throw explained(error, source.name, facts.dir);
  } finally {
    signal.removeEventListener('abort', interrupt);
    db.close();
  }
}

function explained(error: unknown, source: string, dir: string): unknown {
  if (error instanceof InputError) return new CliError(error.message, { cause: error });
  if (isOutOfRoom(error)) {
    return new CliError(
      `${source}: the disk of the state folder ${dir} is full; the next load goes on from here`,
      {
        cause: error,
      },
    );
  }
  if (isOutOfMemory(error)) {
    return new CliError(
      `${source}: the table needs more memory than DuckDB may take: give it more (--memory)`,
      {
        cause: error,
      },
    );
  }
  return error;
}

async function pushAgain(
  facts: LoadedFacts,
  db: DuckDb,
  push: FactPush,
  onProgress: LoadSourceOptions['onProgress'],
): Promise<boolean> {
  const count = await facts.loadedCount(db);
  onProgress({ phase: 'once more', done: 0, facts: count });
  return push.push(facts.loadedFacts(db), 0, (done) =>
    onProgress({ phase: 'once more', done, facts: count }),
  );
}

/** @returns whether it came to its end */
async function pushPending(
  facts: LoadedFacts,
  db: DuckDb,
  push: FactPush,
  pending: PendingFacts,
  phase: LoadProgress['phase'],
  onProgress: LoadSourceOptions['onProgress'],
): Promise<boolean> {
  let now = pending;
  onProgress({ phase, done: now.done, facts: now.facts });
  const isWhole = await push.push(facts.pendingFacts(db, pending), pending.done, (done, refused) => {
    now = { ...now, done, refused: [...now.refused, ...refused] };
    if (now.refused.length > REFUSED_MAX) {
      throw new CliError(
        `the server has refused more than ${REFUSED_MAX} facts of ${pending.facts}; the last one: ${push.totals.rejections.at(-1)?.message ?? 'no reason'}`,
      );
    }
    facts.progress(now);
    onProgress({ phase, done, facts: now.facts });
  });
  if (isWhole) await facts.finish(db, now);
  return isWhole;
}
