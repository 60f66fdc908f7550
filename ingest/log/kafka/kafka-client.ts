/** One kafkajs client, with every timeout and retry said, and its log lines in ours. */
import type { FastifyBaseLogger } from 'fastify';
import kafkajs, {
  type Kafka,
  type KafkaConfig,
  type LogEntry,
  type RetryOptions,
  type SASLOptions,
} from 'kafkajs';
import { registerCompressionCodecs } from './compression-codecs.ts';
import { KafkaUnreachableError, messageOf } from './kafka-errors.ts';
import { repairKafkajs } from './kafkajs-repairs.ts';

export interface KafkaSettings {
  /** host:port of some brokers; the others are learned from them. */
  readonly brokers: readonly string[];
  /** Who we are in the brokers' logs and quotas. */
  readonly clientId: string;
  /** `true`: TLS with the system's certificate authorities. Texts are PEM. */
  readonly ssl?: true | KafkaTls;
  readonly sasl?: KafkaSasl;
  /** TCP and TLS, ms. @default 4000 */
  readonly connectionTimeoutMs?: number;
  /** One request, ms. @default 15000 */
  readonly requestTimeoutMs?: number;
}

export interface KafkaTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** @default true */
  readonly rejectUnauthorized?: boolean;
  readonly servername?: string;
}

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/** Where log lines go. */
export type KafkaLogger = Pick<FastifyBaseLogger, 'error' | 'warn' | 'info' | 'debug'>;

export const DEFAULT_REQUEST_TIMEOUT_MS = 15_000;

/** For connections and metadata: some 2.5 s of waiting in all. Requests that matter have retries of their own. */
export const CLIENT_RETRY: RetryOptions = {
  initialRetryTime: 100,
  maxRetryTime: 1_000,
  factor: 0.2,
  multiplier: 2,
  retries: 5,
};

/**
 * For the connections of a consumer: some 40 s. A consumer that gives up crashes, and one that crashes while it can
 * not leave its group lets the next wait until its session has ended.
 */
export const CONSUMER_CLIENT_RETRY: RetryOptions = { ...CLIENT_RETRY, maxRetryTime: 2_000, retries: 24 };

export function makeKafka(
  settings: KafkaSettings,
  logger: KafkaLogger,
  retry: RetryOptions = CLIENT_RETRY,
): Kafka {
  registerCompressionCodecs();
  repairKafkajs();
  const { brokers, clientId, ssl, sasl, connectionTimeoutMs, requestTimeoutMs } = settings;
  const config: KafkaConfig = {
    brokers: [...brokers],
    clientId,
    connectionTimeout: connectionTimeoutMs ?? 4_000,
    authenticationTimeout: requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    requestTimeout: requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    enforceRequestTimeout: true,
    retry,
    logLevel: kafkajs.logLevel.INFO,
    logCreator: () => logWriter(logger),
  };
  if (ssl !== undefined) config.ssl = ssl === true ? true : { ...ssl };
  if (sasl !== undefined) config.sasl = { ...sasl } as SASLOptions;
  return new kafkajs.Kafka(config);
}

/** Details of kafkajs's lines that may be written: none of them can hold a key or a value. */
const DETAILS = ['broker', 'groupId', 'memberId', 'topic', 'partition', 'error', 'retryCount', 'retryTime'];

/** While a broker is away kafkajs says so several times a second, for every connection. */
const REPEAT_AFTER_MS = 30_000;
const REMEMBERED_LINES = 100;

function logWriter(logger: KafkaLogger): (entry: LogEntry) => void {
  const saidAtMs = new Map<string, number>();
  const isRepetition = (line: string): boolean => {
    const nowMs = performance.now();
    if (nowMs - (saidAtMs.get(line) ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS) return true;
    if (saidAtMs.size >= REMEMBERED_LINES) saidAtMs.clear();
    saidAtMs.set(line, nowMs);
    return false;
  };
  return ({ level, namespace, log }) => {
    const details: Record<string, unknown> = { kafkajs: namespace };
    for (const name of DETAILS) {
      const value: unknown = log[name];
      if (typeof value === 'string' || typeof value === 'number') details[name] = value;
    }
    const text = `kafka client: ${log.message}`;
    const minor =
      level > kafkajs.logLevel.WARN ||
      // What a broker answers is handled where it was asked.
      log.message.startsWith('Response ') ||
      isRepetition(`${namespace} ${log.message}`);
    // What kafkajs calls an error it usually retries; what fails in the end reaches us as an exception.
    if (minor) logger.debug(details, text);
    else logger.warn(details, text);
  };
}

/** Says whom nobody could reach, and where the address comes from. */
export function unreachable(settings: KafkaSettings, cause: unknown): KafkaUnreachableError {
  const refused = cause instanceof Error && cause.name === 'KafkaJSSASLAuthenticationError';
  const what = refused ? 'Kafka refused the login' : 'no Kafka broker answers';
  return new KafkaUnreachableError(
    `${what} at ${settings.brokers.join(', ')} (--kafka): ${messageOf(cause)}`,
    { cause },
  );
}
