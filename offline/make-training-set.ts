/** The library's way to training sets: opens what is needed, makes one, and closes it again. */
import { randomUUID } from 'node:crypto';
import { constants, statSync } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type * as Arrow from 'apache-arrow';
import type { CompiledRepo, CompiledService, CompiledSource } from '../engine/definitions/compiled.ts';
import { nearestName } from '../engine/definitions/nearest-name.ts';
import { arrowTable } from './arrow-output.ts';
import { DuckDb, FileInUseError, isOfFile, isOutOfMemory, isOutOfRoom, readError } from './duckdb.ts';
import { evaluationPool } from './evaluation-pool.ts';
import type { EvaluationThreadModule } from './evaluation-thread.ts';
import { type HistoryLog, isHistoryLog, type LoggedHistory, readHistoryLogs } from './history-log.ts';
import { InputError } from './input-error.ts';
import { MEMORY_DEFAULT_BYTES, MEMORY_MIN_BYTES } from './memory-limits.ts';
import type { SpineOptions } from './spine.ts';
import { formatOfName, TABLE_FORMATS, type TableFormat, tableFiles } from './table-files.ts';
import type { TableInput } from './table-relation.ts';
import { writeTrainingTable } from './training-file.ts';
import { prepareTrainingSet, type TrainingProgress, type TrainingSummary } from './training-set.ts';
import type { TrainingTable } from './training-table.ts';
import { UnchangedFiles } from './unchanged-files.ts';
import {
  fileIdentity,
  resumableWork,
  SPILLED,
  temporaryWork,
  type WorkDirectory,
  workIsTaken,
} from './work-directory.ts';

/** A file, a folder or a pattern (see `tableFiles`), or a table in memory. */
export type TrainingInput = string | Arrow.Table;

/** As an input; or a log, see `kafkaHistory` and `embeddedHistory`. */
export type TrainingHistory = TrainingInput | HistoryLog;

export interface TrainingSetOptions extends SpineOptions {
  readonly repo: CompiledRepo;
  readonly service: string;
  readonly spine: TrainingInput;
  /** Where the events of each source are. One alone is that of the service's only source. */
  readonly history: TrainingHistory | Readonly<Record<string, TrainingHistory>>;
  /** Before the names of features. @default none */
  readonly prefix?: string;
  /**
   * Bytes, 512 MiB at least: two thirds of it are DuckDB's, which writes to disk what does not fit. Threads, and what is
   * being written, come on top. @default 2 GiB
   */
  readonly memoryBytes?: number;
  /** Threads that evaluate, the calling one among them, and as many of DuckDB's. @default as many as there are cores */
  readonly threads?: number;
  /** How to start further threads that evaluate. @default the values are found in the calling one alone */
  readonly threadModule?: EvaluationThreadModule;
  readonly onProgress?: (progress: TrainingProgress) => void;
}

export interface TrainingFileOptions extends TrainingSetOptions {
  /** Format by its name: .parquet, .arrow, .csv, .ndjson (the last two also .gz). */
  readonly out: string;
  /** Where it is made: the same call goes on with what is there. @default OUT.work */
  readonly work?: string;
}

/**
 * A training set in memory.
 * @throws InputError where the spine or a history cannot be used
 */
export async function trainingSet(options: TrainingSetOptions): Promise<Arrow.Table> {
  const inputs = await inputsOf(options);
  const work = await temporaryWork();
  try {
    return await withTrainingTable(options, inputs, work, async (db, table, { check }) => {
      const made = await arrowTable(db, table);
      await check();
      return made;
    });
  } catch (error) {
    throw withoutRoom(error, work.dir, work.dir);
  } finally {
    await work.remove();
  }
}

/**
 * A training set as a file.
 * @param spineIdentity what makes the spine another one, where it is not its file. @default the file
 * @throws InputError where the spine or a history cannot be used, or the file cannot be written
 */
export async function trainingSetFile(
  options: TrainingFileOptions,
  spineIdentity?: unknown,
): Promise<TrainingSummary & { readonly resumed: boolean }> {
  const { file, format } = outputOf(options.out);
  const inputs = await inputsOf(options);
  await checkPlaceOf(file);
  await checkIsNotRead(file, inputs);
  const work = await resumableWork(
    resolve(options.work ?? `${file}.work`),
    await identityOf(options, inputs, spineIdentity),
    isFree,
  );
  try {
    const summary = await withTrainingTable(
      options,
      inputs,
      work,
      async (db, table, { summary: found, check }) => {
        options.onProgress?.({ phase: 'writing', share: 0.93, rows: found.rows });
        await writeTrainingTable(db, table, { file, format, check });
        return found;
      },
    );
    await work.remove();
    return { ...summary, resumed: work.resumed };
  } catch (error) {
    throw withoutRoom(error, work.dir, file);
  } finally {
    work.release();
  }
}

/** @throws InputError where the name does not tell a format */
export function outputOf(out: string): { readonly file: string; readonly format: TableFormat } {
  const file = resolve(out);
  const format = formatOfName(file);
  if (format !== null && !/\.(arrows|feather)$/i.test(file)) return { file, format };
  throw new InputError(
    `${out}: the format is told by the name: ${TABLE_FORMATS.map((name) => `.${name}`).join(', ')}`,
  );
}

/** Before hours of work go into what cannot be written. */
export async function checkPlaceOf(file: string): Promise<void> {
  const dir = dirname(file);
  const stats = await stat(dir).catch(() => null);
  if (!stats?.isDirectory()) throw new InputError(`there is no folder ${dir} for the training set: make it`);
  if ((await stat(file).catch(() => null))?.isDirectory())
    throw new InputError(`${file} is a folder: name a file (--out)`);
  try {
    await access(dir, constants.W_OK);
  } catch (error) {
    throw new InputError(`the folder ${dir} cannot be written to: name another place (--out)`, {
      cause: error,
    });
  }
}

async function checkIsNotRead(file: string, { spine, history }: Inputs): Promise<void> {
  const place = await realpath(file).catch(() => null);
  if (place === null) return;
  for (const input of [spine, ...history.values()]) {
    if (isHistoryLog(input) || !('files' in input)) continue;
    for (const read of input.files) {
      if ((await realpath(read)) === place)
        throw new InputError(`${file} is what the training set is made from: name another file (--out)`);
    }
  }
}

/** What its owner can mend, of what DuckDB or the system says. */
export function withoutRoom(error: unknown, workDir: string, file: string): unknown {
  if (error instanceof InputError) return error;
  if (isOutOfRoom(error)) {
    return new InputError(
      `there is no room left for ${[...new Set([workDir, file])].join(' or ')}: make some, and the same command goes on; or name a work folder elsewhere (--work)`,
      { cause: error },
    );
  }
  if (isOutOfMemory(error)) {
    return new InputError(
      'the memory does not do: give more (--memory), or fewer threads (--threads); the same command goes on',
      { cause: error },
    );
  }
  return isOfFile(error) ? readError('the spine or a history', error) : error;
}

interface Inputs {
  readonly service: CompiledService;
  readonly spine: TableInput;
  readonly history: ReadonlyMap<string, TableInput | HistoryLog>;
}

async function inputsOf({ repo, service: name, spine, history }: TrainingSetOptions): Promise<Inputs> {
  const service = serviceOf(repo, name);
  return { service, spine: await inputOf(spine), history: await historyOf(service, history) };
}

async function withTrainingTable<T>(
  options: TrainingSetOptions,
  inputs: Inputs,
  work: WorkDirectory,
  use: (
    db: DuckDb,
    table: TrainingTable,
    /** To be asked once all is read: whether the files are what they were. */
    of: { readonly summary: TrainingSummary; readonly check: () => Promise<void> },
  ) => Promise<T>,
): Promise<T> {
  const {
    repo,
    threads = availableParallelism(),
    memoryBytes = MEMORY_DEFAULT_BYTES,
    threadModule,
  } = options;
  checkMemory(memoryBytes);
  const db = await openDb(work, Math.floor((memoryBytes * 2) / 3), threads);
  try {
    // With the database open, no other process is at work in the folder.
    const { history, logged } = await readLogs(repo, inputs.history, work.dir);
    const files = await UnchangedFiles.of([inputs.spine, ...history.values()]);
    const pool = evaluationPool(repo, threads, threadModule);
    let prepared: Awaited<ReturnType<typeof prepareTrainingSet>>;
    try {
      prepared = await prepareTrainingSet({
        ...{ ...inputs, history, logged, db, pool },
        spineOptions: options,
        workDir: work.dir,
        prefix: options.prefix ?? '',
        onProgress: options.onProgress ?? (() => {}),
      });
    } finally {
      // Writing needs memory, and no threads of ours.
      await pool.close();
    }
    return await use(db, prepared.table, { summary: prepared.summary, check: () => files.check() });
  } finally {
    db.close();
  }
}

/** Logs are read into files of the work folder first. */
export async function readLogs(
  repo: CompiledRepo,
  given: Inputs['history'],
  workDir: string,
): Promise<{ history: Map<string, TableInput>; logged: Map<string, LoggedHistory> }> {
  const logs = [...given].flatMap(([name, log]) =>
    isHistoryLog(log) ? [{ source: repo.sources.get(name)!, log }] : [],
  );
  const read = await readHistoryLogs(workDir, logs);
  const history = new Map<string, TableInput>();
  for (const [name, input] of given) history.set(name, isHistoryLog(input) ? read.get(name)!.files : input);
  return { history, logged: new Map([...read].map(([name, found]) => [name, found.logged])) };
}

export function checkMemory(memoryBytes: number): void {
  if (!(memoryBytes >= MEMORY_MIN_BYTES))
    throw new InputError(`memoryBytes must be ${MEMORY_MIN_BYTES} at least: DuckDB cannot sort with less`);
}

export async function openDb(
  { dir, file }: WorkDirectory,
  memoryBytes: number,
  threads: number,
): Promise<DuckDb> {
  try {
    return await DuckDb.open({
      ...(file === undefined ? {} : { file }),
      memoryBytes,
      threads,
      spillDir: join(dir, SPILLED),
    });
  } catch (error) {
    if (error instanceof FileInUseError) throw workIsTaken(dir, error);
    if (file === undefined || isOutOfRoom(error)) throw error;
    throw new InputError(`${file} cannot be gone on with: remove the folder, and begin anew`, {
      cause: error,
    });
  }
}

async function isFree(file: string): Promise<boolean> {
  try {
    (await DuckDb.open({ file, memoryBytes: MEMORY_MIN_BYTES, threads: 1, spillDir: '' })).close();
    return true;
  } catch (error) {
    // One that cannot be read is nobody's any more.
    return !(error instanceof FileInUseError);
  }
}

export function serviceOf(repo: CompiledRepo, name: string): CompiledService {
  const service = repo.services.get(name);
  if (service !== undefined) return service;
  const nearest = nearestName(name, [...repo.services.keys()]);
  throw new InputError(
    `there is no service '${name}'${nearest === null ? '' : `; did you mean '${nearest}'?`} (there are ${[...repo.services.keys()].join(', ') || 'none'})`,
  );
}

export async function inputOf(input: TrainingInput): Promise<TableInput> {
  return typeof input === 'string' ? tableFiles(input) : { path: 'the table given', table: input };
}

const historyInputOf = async (input: TrainingHistory): Promise<TableInput | HistoryLog> =>
  isHistoryLog(input) ? input : inputOf(input);

const isTable = (input: object): input is Arrow.Table => 'schema' in input && 'batches' in input;

/** Folders of the sources, where the path is that of an archive or is laid out like one: `source=NAME`. */
function archivedSources(path: string, sources: readonly string[]): Map<string, string> | null {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return null;
  const folders = new Map(sources.map((source) => [source, join(path, `source=${source}`)]));
  const isThere = (dir: string): boolean => statSync(dir, { throwIfNoEntry: false })?.isDirectory() ?? false;
  return [...folders.values()].some(isThere) ? folders : null;
}

export async function historyOf(
  service: CompiledService,
  given: TrainingSetOptions['history'],
): Promise<Map<string, TableInput | HistoryLog>> {
  const sources = [...new Set(service.views.map(({ view }) => view.source.name))];
  if (isHistoryLog(given)) return new Map(sources.map((source) => [source, given]));
  if (typeof given === 'string' || isTable(given)) {
    const archived = typeof given === 'string' ? archivedSources(given, sources) : null;
    if (archived !== null) {
      return new Map(
        await Promise.all([...archived].map(async ([source, dir]) => [source, await inputOf(dir)] as const)),
      );
    }
    if (sources.length !== 1) {
      throw new InputError(
        `the service '${service.name}' reads ${sources.length} sources: give a history for each of ${sources.join(', ')} (--history SOURCE=PATH)`,
      );
    }
    return new Map([[sources[0]!, await inputOf(given as TrainingInput)]]);
  }
  const inputs = new Map<string, TableInput | HistoryLog>();
  for (const [source, input] of Object.entries(given)) {
    if (!sources.includes(source)) {
      throw new InputError(
        `the service '${service.name}' reads no source '${source}' (it reads ${sources.join(', ')})`,
      );
    }
    inputs.set(source, await historyInputOf(input as TrainingHistory));
  }
  return inputs;
}

/** What the files depend on that are made of its log. */
const loggedIdentity = ({ definition: { topic, columns } }: CompiledSource): object => ({ topic, columns });

/** What makes a training set another one. */
async function identityOf(
  options: TrainingSetOptions,
  { service, spine, history }: Inputs,
  spineIdentity: unknown,
): Promise<unknown> {
  const { time, eventId, eventSource } = options;
  const identities = async (input: TableInput): Promise<unknown> =>
    // A table in memory is not known again: such a run is never gone on with.
    'files' in input ? Promise.all(input.files.map(fileIdentity)) : randomUUID();
  const histories = await Promise.all(
    [...history].map(async ([source, input]) => [
      source,
      isHistoryLog(input)
        ? { ...loggedIdentity(options.repo.sources.get(source)!), log: input.identity }
        : await identities(input),
    ]),
  );
  return {
    service: service.name,
    views: service.views.map(({ view, features }) => [view.namespace, features.map(({ name }) => name)]),
    on_demand: service.onDemand.map(({ name }) => name),
    spine: spineIdentity ?? (await identities(spine)),
    columns: { time, event_id: eventId, event_source: eventSource },
    history: Object.fromEntries(histories),
  };
}
