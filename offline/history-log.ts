/**
 * A log as a history: it is written to files first, in the work folder, and these are read like any other. What is not done
 * again when a training set is gone on with.
 */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { InputError } from './input-error.ts';
import { type TableFiles, tableFiles } from './table-files.ts';

/** What was read of a source's log. */
export interface LoggedHistory {
  /** By partition: where the log began and, exclusively, ended. */
  readonly offsets: readonly { readonly startOffset: number; readonly endOffset: number }[];
  /** Records that the log did not hold any more: features lack their events. */
  readonly gone: number;
  /** Records that are no events of the source, by reason. */
  readonly refused: ReadonlyMap<string, number>;
}

/** As `kafkaHistory` and `embeddedHistory` give it. */
export interface HistoryLog {
  /** Which log it is, as JSON. */
  readonly identity: unknown;
  /** Writes the events of these sources to `DIRECTORY/source=NAME/…`, or goes on with what is there. @returns by source */
  writeTo(directory: string, sources: readonly CompiledSource[]): Promise<ReadonlyMap<string, LoggedHistory>>;
}

/** Folder of what was read of logs, in the work folder. */
export const LOGGED = 'history-log';

export const isHistoryLog = (input: unknown): input is HistoryLog =>
  typeof input === 'object' && input !== null && 'writeTo' in input;

/** @returns by source: the files of its events, and what was read */
export async function readHistoryLogs(
  workDir: string,
  histories: readonly { readonly source: CompiledSource; readonly log: HistoryLog }[],
): Promise<ReadonlyMap<string, { readonly files: TableFiles; readonly logged: LoggedHistory }>> {
  const directory = join(workDir, LOGGED);
  const read = new Map<string, { files: TableFiles; logged: LoggedHistory }>();
  for (const log of new Set(histories.map((history) => history.log))) {
    const sources = histories.filter((history) => history.log === log).map(({ source }) => source);
    const found = await log.writeTo(directory, sources);
    for (const { name } of sources) {
      const logged = found.get(name);
      if (logged === undefined) throw new InputError(`the log has nothing to say of the source '${name}'`);
      read.set(name, { files: await eventsOf(directory, name), logged });
    }
  }
  return read;
}

async function eventsOf(directory: string, source: string): Promise<TableFiles> {
  const path = join(directory, `source=${source}`);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return tableFiles(path);
  // Not one event: a file without rows.
  const empty = join(directory, `${source}.ndjson`);
  writeFileSync(empty, '');
  return { path: `the log of ${source}`, format: 'ndjson', files: [empty] };
}
