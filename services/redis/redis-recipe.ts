import { join } from 'node:path';
import { HOST } from '../process/free-port.ts';
import type { ServerRecipe } from '../process/server.ts';
import { redisCommand } from './redis-command.ts';

export interface RedisSettings {
  /** How the append-only file is synced; `false`: nothing is written to disk. Default `false`. */
  readonly appendonly?: false | 'everysec' | 'always' | undefined;
  /** Default `false`. The server then has no slots yet: see `startRedisCluster`. */
  readonly clusterEnabled?: boolean | undefined;
  /** Listens on a socket in its directory as well. Default `false`. */
  readonly unixSocket?: boolean | undefined;
  /** The server starts as a replica of the one at this address. */
  readonly replicaOf?: { readonly host: string; readonly port: number } | undefined;
  /** Further arguments of redis-server, as `['--maxmemory', '64mb']`. They win. */
  readonly args?: readonly string[] | undefined;
}

/** The socket of a Redis with `unixSocket`. */
export const socketOf = (dir: string): string => join(dir, 'redis.sock');

/** redis-server from PATH, without a configuration file: no system setting of an installed Redis has a say. */
export function redisRecipe(settings: RedisSettings = {}): ServerRecipe {
  const { appendonly = false, clusterEnabled = false, unixSocket = false, replicaOf, args = [] } = settings;
  return {
    name: 'redis',
    // The second is the cluster bus, by default the first plus 10,000, which may be taken.
    portCount: clusterEnabled ? 2 : 1,
    prepare: (dir, [port, busPort]) => ({
      program: 'redis-server',
      args: [
        ...['--bind', HOST, '--port', String(port), '--dir', dir, '--daemonize', 'no'],
        ...(unixSocket ? ['--unixsocket', socketOf(dir)] : []),
        ...['--save', '', '--maxmemory-policy', 'noeviction'],
        // By default a master waits 5 s for more replicas before it sends them its data.
        ...['--repl-diskless-sync-delay', '0'],
        // A cluster lists a replica once its offset is not 0, which a ping of its master sees to (default: 10 s).
        ...['--repl-ping-replica-period', '1'],
        ...(appendonly === false
          ? ['--appendonly', 'no']
          : ['--appendonly', 'yes', '--appendfsync', appendonly]),
        ...(clusterEnabled
          ? ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '2000']
          : []),
        ...(replicaOf ? ['--replicaof', replicaOf.host, String(replicaOf.port)] : []),
        ...args,
      ],
    }),
    answers: async ([port], pid) => {
      // An error (-LOADING while the append-only file is read) is thrown.
      await redisCommand(port!, 'PING');
      return String(await redisCommand(port!, 'INFO', 'server')).includes(`\nprocess_id:${pid}\r`);
    },
    startTimeoutMs: 30_000,
    graceMs: 10_000,
  };
}
