import { spawnSync } from 'node:child_process';

/** What the registry is compiled for. */
export const JAVA_VERSION_MIN = 17;

let found: string | null | undefined;

/** Null if the `java` of PATH is recent enough, else why not. Asked once per process: it takes some 50 ms. */
export function javaProblem(): string | null {
  if (found === undefined) found = findProblem();
  return found;
}

function findProblem(): string | null {
  const { error, stderr } = spawnSync('java', ['-version'], { encoding: 'utf8' });
  if (error) return 'java is not installed';
  // "17.0.15", and "1.8.0" for Java 8.
  const version = Number(/version "(?:1\.)?(\d+)/.exec(stderr)?.[1] ?? 0);
  return version >= JAVA_VERSION_MIN ? null : `java is older than ${JAVA_VERSION_MIN}`;
}

/** Flags of all our JVMs: they live briefly and share few cores, so the quickest compiler and collector start best. */
export function javaFlags(heapMb: number, classArchive: string | null): string[] {
  return [
    `-Xmx${heapMb}m`,
    '-XX:TieredStopAtLevel=1',
    '-XX:+UseSerialGC',
    '-XX:-UsePerfData',
    // An archive of another JVM is passed over.
    ...(classArchive === null
      ? []
      : [`-XX:SharedArchiveFile=${classArchive}`, '-Xshare:auto', '-Xlog:cds=off']),
    '-Xlog:disable',
    '-Xlog:all=error:stderr',
  ];
}

/** After an installation. */
export function resetJavaProblem(): void {
  found = undefined;
}
