/** `millrace ingest`, `serve` and `compact`, and `up` over Kafka and Redis: roles on servers of their own. */
import { ArchiveColumnsError } from '../archive/archive-columns.ts';
import type { BackendSettings } from '../distributed/backend.ts';
import { openDistributed, type Role } from '../distributed/runtime.ts';
import {
  StoreFormatError,
  StoreSetupError,
  StoreUnavailableError,
  StoreUnusedError,
} from '../engine/store/store-errors.ts';
import { RegistryUnavailableError } from '../ingest/decoding/schema-registry.ts';
import {
  ConsumerStalledError,
  KafkaUnreachableError,
  TopicCompactedError,
  TopicMissingError,
} from '../ingest/log/kafka/kafka-errors.ts';
import { DecisionLogError } from '../serve/decision-log/decision-log.ts';
import { archiveLines, archiveOptions } from './archive-options.ts';
import { CliError } from './cli-error.ts';
import { decisionLogLines, decisionLogOption, decisionLogProblem } from './decision-log-settings.ts';
import { kafkaSettingsOf, refuseAll, tlsFiles } from './kafka-settings.ts';
import { registryOptions } from './registry-options.ts';
import { runEngine } from './run-engine.ts';
import { setScheduling } from './scheduling.ts';
import type { Config } from './settings.ts';
import { isWorker, shareMetrics, workerAnnouncer } from './worker-link.ts';

/** Resolves with the exit code. @throws CliError where a server cannot be used */
export async function runRoles(config: Config, roles: readonly Role[]): Promise<number> {
  const settings = backendSettings(config);
  const decisionLog = roles.includes('serve') ? decisionLogOption(config) : {};
  // Workers are what the process is that starts them, and takes connections for them.
  setScheduling(config, roles);
  if (config.workers > 1 && roles.includes('serve') && roles.length === 1 && !isWorker()) {
    const { serveWorkers } = await import('./serve-workers.ts');
    return serveWorkers(config);
  }
  const ingests = roles.includes('ingest');
  return runEngine(config, {
    open: async (repo, logger, signal) => {
      try {
        const engine = await openDistributed({
          ...settings,
          ...decisionLog,
          repo,
          roles: new Set(roles),
          consumer: { onGap: config.onGap },
          limits: { inFlight: config.maxInFlight, connections: config.maxConnections },
          closeTimeoutMs: config.shutdownTimeout * 1_000,
          logger,
          ...archiveOptions(config),
        });
        if (isWorker()) shareMetrics(engine.metrics);
        // A process that also ingests has enough to do at its start, and is somebody's own machine.
        if (config.warmUp > 0 && roles.length === 1 && roles[0] === 'serve') {
          const { warmUp } = await import('./warm-up.ts');
          await warmUp(repo, { forMs: 1_000 * config.warmUp, logger, signal });
        }
        return engine;
      } catch (error) {
        throw explain(error) ?? error;
      }
    },
    simulates: ingests && roles.includes('serve'),
    about: [
      ['roles', roles.join(', ')],
      ['kafka', config.kafka!],
      ['redis', hostsOf(config.redis!)],
      // Nobody else reads records.
      ...(ingests
        ? [
            [
              'registry',
              config.registry === null ? 'none: records are JSON' : hostsOf(config.registry),
            ] as const,
            ...archiveLines(config),
          ]
        : []),
      ...(roles.includes('serve') ? decisionLogLines(config) : []),
    ],
    explain,
    // Of several, the process that started them says so.
    stopped: isWorker() ? null : 'Stopped.',
    leaving: 'Every acknowledged event is in its topic; what was not applied will be by another process.',
    ...(isWorker() ? { announcer: workerAnnouncer() } : {}),
  });
}

/** How to say what a server, or waiting for it, failed with; null: it is a defect. */
export function explain(error: unknown): CliError | null {
  if (error instanceof DecisionLogError) return decisionLogProblem(error);
  const known =
    error instanceof KafkaUnreachableError ||
    error instanceof TopicMissingError ||
    error instanceof TopicCompactedError ||
    error instanceof ConsumerStalledError ||
    error instanceof StoreUnavailableError ||
    error instanceof StoreSetupError ||
    error instanceof StoreFormatError ||
    error instanceof StoreUnusedError ||
    error instanceof RegistryUnavailableError ||
    error instanceof ArchiveColumnsError;
  return known ? new CliError(withFlags(error), { cause: error }) : null;
}

/** What a server refuses with, and the settings that it is about. */
const REFUSALS = {
  kafka: [
    [/current SASL state/, 'the broker asks for no login there: leave out --kafka-sasl'],
    [/SASL|authenticat/i, '--kafka-sasl, --kafka-username, --kafka-password'],
    [/certificate|SSL routines/i, '--kafka-tls, --kafka-ca, --kafka-cert, --kafka-key'],
    [/before secure TLS connection/, 'the broker may not speak TLS there: leave out --kafka-tls'],
    [/Closed connection/, 'if it asks for TLS or SASL: --kafka-tls, --kafka-sasl'],
  ],
  redis: [
    [/NOAUTH/, 'it asks for a login: --redis-username, --redis-password'],
    [/WRONGPASS/, '--redis-username, --redis-password'],
    [/certificate|SSL routines/i, '--redis-ca, --redis-cert, --redis-key'],
    [/ETIMEDOUT/, 'a firewall, or, at rediss://, a server that does not speak TLS there: --redis'],
    [/ECONNRESET|has ended/, '--redis; if it asks for TLS: rediss://, for a certificate: --redis-cert'],
  ],
} as const;

/** As OpenSSL says it: `80…:error:0A…:SSL routines:ssl3_read_bytes:sslv3 alert bad certificate:../deps/….c:1601:…`. */
const OPENSSL = /[0-9A-F]+:error:[0-9A-F]+:([^:]*):[^:]*:([^:]*):[^\s:]+:\d+:[^\n)]*\n?/g;

function withFlags(error: Error): string {
  const message = error.message.replaceAll(OPENSSL, '$1: $2');
  const server =
    error instanceof KafkaUnreachableError
      ? 'kafka'
      : error instanceof StoreUnavailableError
        ? 'redis'
        : null;
  if (server === null) return message;
  const flags = REFUSALS[server].find(([pattern]) => pattern.test(error.message))?.[1];
  if (flags !== undefined) return `${message} (${flags})`;
  return server === 'redis' ? `${message} (--redis)` : message;
}

/** @throws CliError where settings are missing, contradict each other, or a file cannot be read */
export function backendSettings(config: Config): BackendSettings {
  const problems: string[] = [];
  const kafka = kafkaSettingsOf(config, problems);
  if (config.redis === null) problems.push('redis: the address is missing (--redis redis://HOST:PORT)');
  const redisTls = tlsFiles(config, 'redis', problems);
  const { registryUsername, registryPassword, registryToken } = config;
  const hasLogin = [registryUsername, registryPassword, registryToken].some((part) => part !== null);
  if (config.registry === null && hasLogin) {
    problems.push('registry: the address is missing (--registry URL)');
  }
  refuseAll(problems);
  const { redisUsername, redisPassword, shards } = config;
  return {
    clock: config.clock,
    kafka,
    group: config.group,
    groupTimings: { lingerMs: config.ingestLinger },
    createTopics: config.createTopics
      ? { partitions: config.partitions, replicationFactor: config.replicationFactor ?? -1 }
      : null,
    redis: {
      nodes: listOf(config.redis!),
      prefix: config.redisPrefix,
      acceptLoss: config.redisAcceptLoss,
      readTimeoutMs: config.redisReadTimeout,
      ...(shards === null ? {} : { shards }),
      ...(redisUsername === null ? {} : { username: redisUsername }),
      ...(redisPassword === null ? {} : { password: redisPassword }),
      ...(redisTls === null ? {} : { tls: redisTls }),
    },
    registry: registryOptions(config),
    onLostSchema: config.onLostSchema,
  };
}

const listOf = (text: string): string[] => text.split(',').map((item) => item.trim());

/** A list of URLs as it may be shown: without user and password. */
const hostsOf = (urls: string): string =>
  listOf(urls)
    .map((url) => new URL(url))
    .map(({ protocol, host, pathname }) => `${protocol}//${host}${pathname === '/' ? '' : pathname}`)
    .join(', ');
