import { ensureInstalled } from '../libraries/install.ts';
import { HOST } from '../process/free-port.ts';
import { Server, type StartOptions } from '../process/server.ts';
import { type KafkaSettings, kafkaRecipe } from './kafka-recipe.ts';

export interface KafkaOptions extends KafkaSettings, StartOptions {}

export interface KafkaBroker {
  /** `['127.0.0.1:<port>']`, as kafkajs wants it; `brokers.join(',')` for `--kafka`. */
  readonly brokers: string[];
  readonly port: number;
  /** Configuration, log and, in `data/`, the storage. */
  readonly dir: string;
  readonly logFile: string;
  /** Another one after a restart. */
  readonly pid: number;
  /** SIGTERM, and SIGKILL after 15 s; returns when the process is gone. A temporary directory is removed. */
  stop(): Promise<void>;
  /** Sends a signal, by default SIGKILL; waits for the end unless it is one like SIGSTOP. Data and ports stay. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts a running or killed broker again, on the same ports and data, and waits until it answers. */
  restart(): Promise<void>;
}

/**
 * A one-node Kafka (KRaft) of one's own on free ports of 127.0.0.1, in which topics have to be created. Returns when
 * it answers, after some 2–3 s; the very first start on a machine downloads the jars (46 MB). It dies with the
 * process that started it (see `Lifetime`).
 *
 * Throws if Java or the jars are not to be had: suites that can do without use `describeWithServices`; those that
 * need no broker of their own, `sharedServices`.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaBroker> {
  await ensureInstalled('kafka');
  const server = await Server.start(kafkaRecipe(options), options);
  const port = server.ports[0]!;
  return {
    brokers: [`${HOST}:${port}`],
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
