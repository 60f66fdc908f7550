import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// biome-ignore lint/suspicious/noExplicitAny: tests look into records of every shape.
export type LoggedDecision = any;

/** The files of a decision log that are closed, by name. */
export function closedFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.ndjson'))
    .sort();
}

export const openFiles = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.ndjson.open'))
    .sort();

/** The records of the closed files, file after file. @throws where a line is none */
export function loggedDecisions(directory: string): LoggedDecision[] {
  return closedFiles(directory).flatMap((name) => decisionsOf(readFileSync(join(directory, name), 'utf8')));
}

/** @throws where a line is no JSON, or the last one does not end */
export function decisionsOf(text: string): LoggedDecision[] {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new Error('the last line does not end');
  return lines.map((line) => JSON.parse(line));
}
