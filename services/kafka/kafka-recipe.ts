import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { javaFlags } from '../libraries/java.ts';
import { checkoutRoot, classArchive } from '../libraries/library.ts';
import { HOST } from '../process/free-port.ts';
import type { ServerRecipe } from '../process/server.ts';
import { brokerAnswers } from './broker-answers.ts';
import { formattedStorage, kafkaClassPath } from './kafka-library.ts';

export interface KafkaSettings {
  /** Largest Java heap, in MiB. Default 256. */
  readonly heapMb?: number | undefined;
  /** Further lines of server.properties, as `{'message.max.bytes': 2_000_000}`. They win. */
  readonly properties?: Readonly<Record<string, string | number | boolean>> | undefined;
}

const DEFAULT_HEAP_MB = 256;

/** One node that is broker and controller (KRaft). */
export function kafkaRecipe(settings: KafkaSettings = {}): ServerRecipe {
  const { heapMb = DEFAULT_HEAP_MB, properties = {} } = settings;
  return {
    name: 'kafka',
    portCount: 2,
    prepare: (dir, ports) => {
      const dataDir = join(dir, 'data');
      if (!existsSync(dataDir)) cpSync(formattedStorage(), dataDir, { recursive: true });
      mkdirSync(dir, { recursive: true });
      const file = join(dir, 'server.properties');
      writeFileSync(file, serverProperties(dataDir, ports, properties));
      return { program: 'java', args: brokerArguments(file, javaFlags(heapMb, classArchive('kafka'))) };
    },
    answers: ([port]) => brokerAnswers(port!),
    startTimeoutMs: 60_000,
    graceMs: 15_000,
  };
}

/** Arguments of `java` that run a broker. */
export function brokerArguments(
  propertiesFile: string,
  flags: readonly string[],
  classPath?: string,
): string[] {
  const log4j = pathToFileURL(join(checkoutRoot, 'services/kafka/log4j.properties')).href;
  return [
    ...flags,
    `-Dlog4j.configuration=${log4j}`,
    '-cp',
    classPath ?? kafkaClassPath(),
    'kafka.Kafka',
    propertiesFile,
  ];
}

/** The text of server.properties; `extra` wins. */
export function serverProperties(
  dataDir: string,
  [brokerPort, controllerPort]: readonly number[],
  extra: NonNullable<KafkaSettings['properties']> = {},
): string {
  const properties: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@${HOST}:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://${HOST}:${brokerPort},CONTROLLER://${HOST}:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://${HOST}:${brokerPort}`,
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': dataDir,
    // There are no three brokers for the internal topics to be spread over; each partition of them costs files.
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    // A test would wait 3 s for members that never come.
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1_000,
    // After a crash the broker is let in again once its old session is over: 9 s by default.
    'broker.session.timeout.ms': 2_000,
    'broker.heartbeat.interval.ms': 500,
    // A misspelt topic is an error.
    'auto.create.topics.enable': false,
    'num.partitions': 1,
    'num.network.threads': 2,
    'num.io.threads': 4,
    // Deleted topics go at once; index files (10 MiB each by default, sparse) stay small.
    'log.segment.delete.delay.ms': 1_000,
    'log.index.size.max.bytes': 1_048_576,
    'log.cleaner.dedupe.buffer.size': 8_388_608,
    ...extra,
  };
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}
