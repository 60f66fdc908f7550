import { readFileSync } from 'node:fs';
import type { RegistryOptions } from '../ingest/decoding/schema-registry.ts';
import { CliError } from './cli-error.ts';
import type { Config } from './settings.ts';

/**
 * The schema registry of the configuration; null: none is configured.
 * @throws CliError where settings contradict each other, or a file cannot be read
 */
export function registryOptions(config: Config): RegistryOptions | null {
  if (config.registry === null) return null;
  const { registryUsername: username, registryPassword: password, registryToken: token } = config;
  if (token !== null && (username !== null || password !== null)) {
    throw new CliError('registryToken takes the place of registryUsername and registryPassword');
  }
  if ((config.registryCert === null) !== (config.registryKey === null)) {
    throw new CliError('registryCert and registryKey go together');
  }
  const [ca, cert, key] = (['registryCa', 'registryCert', 'registryKey'] as const).map((name) =>
    pemOf(config, name),
  );
  return {
    urls: config.registry.split(',').map((url) => url.trim()),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(token === null ? {} : { token }),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
  };
}

function pemOf(config: Config, name: 'registryCa' | 'registryCert' | 'registryKey'): string | undefined {
  const path = config[name];
  if (path === null) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`${name}: ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
