import { ensureInstalled } from '../libraries/install.ts';
import { Server, type StartOptions } from '../process/server.ts';
import { type RegistrySettings, registryRecipe, registryUrl } from './registry-recipe.ts';

export interface RegistryOptions extends RegistrySettings, StartOptions {}

export interface RegistryServer {
  /** Base of Confluent's REST API: `http://127.0.0.1:<port>/apis/ccompat/v7`. */
  readonly url: string;
  readonly port: number;
  /** Database and log. */
  readonly dir: string;
  readonly logFile: string;
  /** Another one after a restart. */
  readonly pid: number;
  /** SIGTERM, and SIGKILL after 15 s; returns when the process is gone. A temporary directory is removed. */
  stop(): Promise<void>;
  /** Sends a signal, by default SIGKILL; waits for the end unless it is one like SIGSTOP. Schemas and port stay. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts a running or killed registry again, on the same port and data, and waits until it answers. */
  restart(): Promise<void>;
}

/**
 * A schema registry (Apicurio) of one's own on a free port of 127.0.0.1. Returns when it answers, after some 2–5 s;
 * the very first start on a machine downloads it (142 MB). It dies with the process that started it (see `Lifetime`).
 */
export async function startRegistry(options: RegistryOptions = {}): Promise<RegistryServer> {
  await ensureInstalled('registry');
  const server = await Server.start(registryRecipe(options), options);
  const port = server.ports[0]!;
  return {
    url: registryUrl(port),
    port,
    dir: server.dir,
    logFile: server.logFile,
    get pid() {
      return server.pid;
    },
    stop: () => server.stop(),
    kill: (signal) => server.kill(signal),
    restart: () => server.restart(),
  };
}
