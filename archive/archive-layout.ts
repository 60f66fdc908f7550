/** Names of the archive's directories and files. Numbers are padded, so that names sort as they do. */
import { join } from 'node:path';

/** Where the commits are: what begins with `_` is no partition of data to engines that look for some. */
const COMMITS_ROOT = '_archive';
const PARTITION_DIGITS = 5;
/** Of 2⁵³ − 1. */
const OFFSET_DIGITS = 16;

const padded = (value: number, digits: number): string => String(value).padStart(digits, '0');

export const offsetText = (offset: number): string => padded(offset, OFFSET_DIGITS);

/** `YYYY-MM-DD`, in UTC. @param epochDay days since 1970-01-01 */
export function dayText(epochDay: number): string {
  return new Date(epochDay * DAY_MS).toISOString().slice(0, 10);
}

const DAY_MS = 86_400_000;

/** @param timeMs 0 ≤ timeMs < 2⁴⁵ */
export const epochDayOf = (timeMs: number): number => Math.floor(timeMs / DAY_MS);

export function dayDirectory(root: string, source: string, day: string): string {
  return join(root, `source=${source}`, `day=${day}`);
}

/** @param lastOffset inclusive */
export function dataFileName(partition: number, firstOffset: number, lastOffset: number): string {
  return `${padded(partition, PARTITION_DIGITS)}-${offsetText(firstOffset)}-${offsetText(lastOffset)}.parquet`;
}

/** Where a data file lies until its commit is published. Must not look like one to a reader. */
export const stagedFileName = (day: string): string => `${day}.staged`;

/** Holds a directory for each partition of a source, named by its number. */
export function archivedPartitions(root: string, source: string): string {
  return join(root, COMMITS_ROOT, source);
}

/** Where a snapshot of a source says up to where it goes. */
export function snapshotPath(root: string, source: string): string {
  return join(root, COMMITS_ROOT, source, 'snapshot.json');
}

export function commitsDirectory(root: string, source: string, partition: number): string {
  return join(root, COMMITS_ROOT, source, padded(partition, PARTITION_DIGITS), 'commits');
}

export function stagingDirectory(root: string, source: string, partition: number): string {
  return join(root, COMMITS_ROOT, source, padded(partition, PARTITION_DIGITS), 'staging');
}

/** Of one attempt to commit what begins at an offset. */
export function attemptName(fromOffset: number, token: string): string {
  return `${offsetText(fromOffset)}-${token}`;
}

export const commitName = (fromOffset: number): string => `${offsetText(fromOffset)}.json`;

/** The offset that the name of a commit, or of an attempt, begins with; null: it is the name of neither. */
export function fromOffsetOf(name: string): number | null {
  const digits = /^(\d{16})(\.json|-[0-9a-f]+)$/.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}
