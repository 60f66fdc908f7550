/** The archive as the settings have it. */
import type { ArchiveSettings } from '../archive/archive.ts';
import { packageVersion } from './package-root.ts';
import type { Config } from './settings.ts';

export function archiveOptions({ archive, archiveEvery }: Config): { archive?: ArchiveSettings } {
  if (archive === null) return {};
  return { archive: { directory: archive, everyMs: 1_000 * archiveEvery, version: packageVersion() } };
}

/** Lines of `name  value` for the start. */
export function archiveLines({ archive }: Config): (readonly [string, string])[] {
  return archive === null ? [] : [['archive', archive]];
}
