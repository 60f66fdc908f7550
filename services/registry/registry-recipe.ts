import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { javaFlags } from '../libraries/java.ts';
import { classArchive, libraryDir } from '../libraries/library.ts';
import { HOST } from '../process/free-port.ts';
import type { ServerRecipe } from '../process/server.ts';

export interface RegistrySettings {
  /** Largest Java heap, in MiB. Default 256. */
  readonly heapMb?: number | undefined;
}

const DEFAULT_HEAP_MB = 256;
const ANSWER_TIMEOUT_MS = 2_000;

/** Confluent's REST API, version 7. */
export function registryUrl(port: number): string {
  return `http://${HOST}:${port}/apis/ccompat/v7`;
}

/** Apicurio Registry, with its H2 database in a file, so that schemas and ids survive a restart. */
export function registryRecipe(settings: RegistrySettings = {}): ServerRecipe {
  const { heapMb = DEFAULT_HEAP_MB } = settings;
  return {
    name: 'registry',
    portCount: 1,
    prepare: (dir, [port]) => ({
      program: 'java',
      args: registryArguments(dir, port!, javaFlags(heapMb, classArchive('registry'))),
    }),
    answers: async ([port]) => {
      const response = await fetch(`${registryUrl(port!)}/subjects`, {
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
      return response.ok;
    },
    startTimeoutMs: 90_000,
    graceMs: 15_000,
  };
}

/** Arguments of `java` that run a registry. */
export function registryArguments(
  dir: string,
  port: number,
  flags: readonly string[],
  libDir: string = libraryDir('registry'),
): string[] {
  const appDir = join(libDir, 'app');
  const jar = readdirSync(appDir).find((name) => name.endsWith('-runner.jar'));
  if (jar === undefined) throw new Error(`${appDir} holds no runner jar; remove it to install it again`);
  return [
    ...flags,
    `-Dquarkus.http.host=${HOST}`,
    `-Dquarkus.http.port=${port}`,
    // WRITE_DELAY=0: an id that was handed out must not be handed out again after a crash.
    `-Dquarkus.datasource.jdbc.url=jdbc:h2:file:${join(dir, 'schemas')};WRITE_DELAY=0`,
    '-Dquarkus.log.level=WARN',
    '-Dquarkus.log.console.color=false',
    '-jar',
    join(appDir, jar),
  ];
}
