import { HOST } from '../process/free-port.ts';
import { Server, type StartOptions } from '../process/server.ts';
import { type RedisReply, redisCommand } from './redis-command.ts';
import { type RedisSettings, redisRecipe, socketOf } from './redis-recipe.ts';

export interface RedisOptions extends RedisSettings, StartOptions {}

export interface RedisServer {
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** `unix://<path>`, with `unixSocket`. */
  readonly socketUrl: string;
  readonly host: string;
  readonly port: number;
  /** Append-only file and log. */
  readonly dir: string;
  readonly logFile: string;
  /** Another one after a restart. */
  readonly pid: number;
  /** One command over a connection of its own; throws what the server answers as an error. */
  command(...args: readonly (string | number)[]): Promise<RedisReply>;
  /** SIGTERM, and SIGKILL after 10 s; returns when the process is gone. A temporary directory is removed. */
  stop(): Promise<void>;
  /** Sends a signal, by default SIGKILL; waits for the end unless it is one like SIGSTOP. Data and port stay. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts a running or killed server again, on the same port and data, and waits until it answers. */
  restart(): Promise<void>;
}

/**
 * A Redis of one's own on a free port of 127.0.0.1, without eviction, and by default without persistence. Returns
 * when it answers, after some 50 ms. It dies with the process that started it (see `Lifetime`).
 *
 * Throws if redis-server is not installed: suites that can do without use `describeWithServices`.
 *
 * @example
 * const redis = await startRedis({ appendonly: 'always' });
 * await redis.kill(); // as at a power failure
 * await redis.restart();
 * await redis.stop();
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const server = await Server.start(redisRecipe(options), options);
  const port = server.ports[0]!;
  return {
    url: `redis://${HOST}:${port}`,
    socketUrl: `unix://${socketOf(server.dir)}`,
    host: HOST,
    port,
    dir: server.dir,
    logFile: server.logFile,
    get pid() {
      return server.pid;
    },
    command: (...args) => redisCommand(port, ...args),
    stop: () => server.stop(),
    kill: (signal) => server.kill(signal),
    restart: () => server.restart(),
  };
}
