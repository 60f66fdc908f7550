/** The settings of Kafka, Redis and the schema registry: where the roles run on servers of their own. */
import { z } from 'zod';
import { DEFAULT_LINGER_MS } from '../ingest/log/kafka/linger.ts';
import { booleanFromText, numberFromText } from './setting-text.ts';
import type { Command, Setting } from './settings.ts';

/** null: not given. Paths are absolute. */
export interface ServersConfig {
  /** HOST:PORT, separated by commas. */
  readonly kafka: string | null;
  readonly kafkaTls: boolean | null;
  readonly kafkaCa: string | null;
  readonly kafkaCert: string | null;
  readonly kafkaKey: string | null;
  readonly kafkaSasl: 'plain' | 'scram-sha-256' | 'scram-sha-512' | null;
  readonly kafkaUsername: string | null;
  readonly kafkaPassword: string | null;
  readonly group: string;
  /** Milliseconds. */
  readonly ingestLinger: number;
  readonly createTopics: boolean;
  readonly partitions: number;
  readonly replicationFactor: number | null;
  /** URLs, separated by commas. */
  readonly redis: string | null;
  readonly redisUsername: string | null;
  readonly redisPassword: string | null;
  readonly redisCa: string | null;
  readonly redisCert: string | null;
  readonly redisKey: string | null;
  readonly redisPrefix: string;
  readonly redisAcceptLoss: boolean;
  /** Milliseconds. */
  readonly redisReadTimeout: number;
  readonly shards: number | null;
  /** URLs, separated by commas. */
  readonly registry: string | null;
  readonly registryUsername: string | null;
  readonly registryPassword: string | null;
  readonly registryToken: string | null;
  readonly registryCa: string | null;
  readonly registryCert: string | null;
  readonly registryKey: string | null;
  readonly onLostSchema: 'stop' | 'continue';
}

export const SERVER_PATH_SETTINGS = [
  'kafkaCa',
  'kafkaCert',
  'kafkaKey',
  'redisCa',
  'redisCert',
  'redisKey',
  'registryCa',
  'registryCert',
  'registryKey',
] as const satisfies readonly (keyof ServersConfig)[];

const filled = z.string().min(1).max(4_096);
const path = filled.refine((value) => !value.includes('\0'));

/** Texts separated by commas, each of which passes the check. */
const list = (isItem: (item: string) => boolean) =>
  z.string().refine((value) => value.split(',').every((item) => isItem(item.trim())));

/** kafkajs takes what is before the first colon for the host: an IPv6 address would be looked up as `[`. */
const isBroker = (item: string): boolean => {
  const port = /^[A-Za-z0-9._-]{1,253}:(\d{1,5})$/.exec(item)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
};

const isUrl = (protocols: readonly string[]) => (item: string) =>
  URL.canParse(item) && protocols.includes(new URL(item).protocol) && new URL(item).host !== '';

export const SERVER_SCHEMAS = {
  kafka: list(isBroker),
  kafkaTls: z.boolean(),
  kafkaCa: path,
  kafkaCert: path,
  kafkaKey: path,
  kafkaSasl: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
  kafkaUsername: filled,
  kafkaPassword: filled,
  group: z.string().regex(/^[A-Za-z0-9._-]{1,100}$/),
  ingestLinger: z.int().min(0).max(1_000),
  createTopics: z.boolean(),
  partitions: z.int().min(1).max(4_096),
  replicationFactor: z.int().min(1).max(32),
  // What follows unix:/// is for the store to say.
  redis: list((item) => item.startsWith('unix:///') || isUrl(['redis:', 'rediss:'])(item)),
  redisUsername: filled,
  redisPassword: filled,
  redisCa: path,
  redisCert: path,
  redisKey: path,
  redisPrefix: z.string().regex(/^[A-Za-z0-9._-]{1,32}$/),
  redisAcceptLoss: z.boolean(),
  redisReadTimeout: z.int().min(10).max(60_000),
  shards: z.int().min(1).max(1_024),
  registry: list(isUrl(['http:', 'https:'])),
  registryUsername: filled,
  registryPassword: filled,
  registryToken: filled,
  registryCa: path,
  registryCert: path,
  registryKey: path,
  onLostSchema: z.enum(['stop', 'continue']),
} as const satisfies Record<keyof ServersConfig, z.ZodType>;

export const SERVER_DEFAULTS = {
  kafka: null,
  kafkaTls: null,
  kafkaCa: null,
  kafkaCert: null,
  kafkaKey: null,
  kafkaSasl: null,
  kafkaUsername: null,
  kafkaPassword: null,
  group: 'millrace',
  ingestLinger: DEFAULT_LINGER_MS,
  createTopics: false,
  partitions: 4,
  replicationFactor: null,
  redis: null,
  redisUsername: null,
  redisPassword: null,
  redisCa: null,
  redisCert: null,
  redisKey: null,
  redisPrefix: 'mr',
  redisAcceptLoss: false,
  redisReadTimeout: 500,
  shards: null,
  registry: null,
  registryUsername: null,
  registryPassword: null,
  registryToken: null,
  registryCa: null,
  registryCert: null,
  registryKey: null,
  onLostSchema: 'stop',
} as const satisfies ServersConfig;

const ROLES: readonly Command[] = ['up', 'ingest', 'serve', 'compact', 'rebuild', 'backfill'];
const KAFKA: readonly Command[] = [...ROLES, 'dlq', 'training-set', 'skew'];
const GROUP: readonly Command[] = ['up', 'ingest', 'rebuild', 'backfill', 'dlq', 'training-set', 'skew'];
const INGEST: readonly Command[] = ['up', 'ingest', 'rebuild', 'backfill'];
/** A rebuild reads topics that are there. */
const CREATING: readonly Command[] = ['up', 'ingest', 'serve', 'compact'];
const REGISTRY: readonly Command[] = [
  'up',
  'ingest',
  'rebuild',
  'backfill',
  'schemas',
  'training-set',
  'skew',
];

export const SERVER_SETTINGS: readonly Setting[] = [
  {
    key: 'kafka',
    flag: '--kafka <brokers>',
    env: 'MILLRACE_KAFKA',
    defaultText: 'none: the embedded log',
    expected: 'one or several HOST:PORT, separated by commas (an IPv6 address needs a host name)',
    description: 'Kafka brokers, HOST:PORT separated by commas',
    commands: KAFKA,
  },
  {
    key: 'kafkaTls',
    flag: '--kafka-tls',
    env: 'MILLRACE_KAFKA_TLS',
    defaultText: '`false`; `true` with a CA or certificate',
    expected: 'true or false',
    description: 'encrypt connections to Kafka',
    commands: KAFKA,
    fromText: booleanFromText,
  },
  {
    key: 'kafkaCa',
    flag: '--kafka-ca <file>',
    env: 'MILLRACE_KAFKA_CA',
    defaultText: 'the CAs of the system',
    expected: 'the path of a PEM file',
    description: 'certificates that Kafka must be signed by (PEM)',
    commands: KAFKA,
  },
  {
    key: 'kafkaCert',
    flag: '--kafka-cert <file>',
    env: 'MILLRACE_KAFKA_CERT',
    defaultText: 'none',
    expected: 'the path of a PEM file',
    description: 'certificate shown to Kafka (PEM)',
    commands: KAFKA,
  },
  {
    key: 'kafkaKey',
    flag: '--kafka-key <file>',
    env: 'MILLRACE_KAFKA_KEY',
    defaultText: 'none',
    expected: 'the path of a PEM file',
    description: 'key of that certificate (PEM)',
    commands: KAFKA,
  },
  {
    key: 'kafkaSasl',
    flag: '--kafka-sasl <mechanism>',
    env: 'MILLRACE_KAFKA_SASL',
    defaultText: 'none',
    expected: 'one of plain, scram-sha-256, scram-sha-512',
    description: 'SASL mechanism: plain, scram-sha-256 or scram-sha-512',
    commands: KAFKA,
  },
  {
    key: 'kafkaUsername',
    flag: '--kafka-username <name>',
    env: 'MILLRACE_KAFKA_USERNAME',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description: 'SASL user',
    commands: KAFKA,
  },
  {
    key: 'kafkaPassword',
    flag: '--kafka-password <password>',
    env: 'MILLRACE_KAFKA_PASSWORD',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description:
      'SASL password; better given by the variable, as a flag is seen by every user of the machine',
    commands: KAFKA,
    secret: true,
  },
  {
    key: 'group',
    flag: '--group <prefix>',
    env: 'MILLRACE_GROUP',
    defaultText: '`millrace`',
    expected: '1 to 100 letters, digits and the characters . _ -',
    description: 'consumer groups are named PREFIX.SOURCE; every deployment on a Kafka needs its own',
    commands: GROUP,
  },
  {
    key: 'ingestLinger',
    flag: '--ingest-linger <ms>',
    env: 'MILLRACE_INGEST_LINGER',
    defaultText: `\`${SERVER_DEFAULTS.ingestLinger}\``,
    expected: 'a whole number from 0 to 1000 (milliseconds)',
    description:
      'how long events from Kafka that come right behind others wait for those behind them, ms: less is fresher, more takes ' +
      'less CPU; a backlog waits for nothing',
    commands: ['up', 'ingest'],
    fromText: numberFromText,
  },
  {
    key: 'createTopics',
    flag: '--create-topics',
    env: 'MILLRACE_CREATE_TOPICS',
    defaultText: '`false`',
    expected: 'true or false',
    description: 'create the topics that are missing',
    commands: CREATING,
    fromText: booleanFromText,
  },
  {
    key: 'partitions',
    flag: '--partitions <n>',
    env: 'MILLRACE_PARTITIONS',
    defaultText: '`4`',
    expected: 'a whole number from 1 to 4096',
    description: 'partitions of topics that are created',
    commands: CREATING,
    fromText: numberFromText,
  },
  {
    key: 'replicationFactor',
    flag: '--replication-factor <n>',
    env: 'MILLRACE_REPLICATION_FACTOR',
    defaultText: "the brokers' default",
    expected: 'a whole number from 1 to 32',
    description: 'replicas of topics that are created',
    commands: CREATING,
    fromText: numberFromText,
  },
  {
    key: 'redis',
    flag: '--redis <urls>',
    env: 'MILLRACE_REDIS',
    defaultText: 'none: the embedded store',
    expected: 'redis:// or rediss:// URLs, separated by commas, or unix:///PATH',
    description:
      'Redis, as redis://HOST:PORT or rediss://HOST:PORT, several nodes of a cluster separated by commas; on one machine also ' +
      'unix:///PATH/OF/SOCKET, which takes less CPU',
    commands: ROLES,
    secret: true,
  },
  {
    key: 'redisUsername',
    flag: '--redis-username <name>',
    env: 'MILLRACE_REDIS_USERNAME',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description: 'Redis user',
    commands: ROLES,
  },
  {
    key: 'redisPassword',
    flag: '--redis-password <password>',
    env: 'MILLRACE_REDIS_PASSWORD',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description: 'Redis password; better given by the variable',
    commands: ROLES,
    secret: true,
  },
  {
    key: 'redisCa',
    flag: '--redis-ca <file>',
    env: 'MILLRACE_REDIS_CA',
    defaultText: 'the CAs of the system',
    expected: 'the path of a PEM file',
    description: 'certificates that Redis must be signed by (PEM)',
    commands: ROLES,
  },
  {
    key: 'redisCert',
    flag: '--redis-cert <file>',
    env: 'MILLRACE_REDIS_CERT',
    defaultText: 'none',
    expected: 'the path of a PEM file',
    description: 'certificate shown to Redis (PEM)',
    commands: ROLES,
  },
  {
    key: 'redisKey',
    flag: '--redis-key <file>',
    env: 'MILLRACE_REDIS_KEY',
    defaultText: 'none',
    expected: 'the path of a PEM file',
    description: 'key of that certificate (PEM)',
    commands: ROLES,
  },
  {
    key: 'redisPrefix',
    flag: '--redis-prefix <prefix>',
    env: 'MILLRACE_REDIS_PREFIX',
    defaultText: '`mr`',
    expected: '1 to 32 letters, digits and the characters . _ -',
    description: 'begins every key in Redis: deployments with different prefixes can share one',
    commands: ROLES,
  },
  {
    key: 'redisAcceptLoss',
    flag: '--redis-accept-loss',
    env: 'MILLRACE_REDIS_ACCEPT_LOSS',
    defaultText: '`false`',
    expected: 'true or false',
    description:
      'work on a Redis without an append-only file, though a crash then empties the store until the log is replayed',
    commands: ROLES,
    fromText: booleanFromText,
  },
  {
    key: 'redisReadTimeout',
    flag: '--redis-read-timeout <ms>',
    env: 'MILLRACE_REDIS_READ_TIMEOUT',
    defaultText: `\`${SERVER_DEFAULTS.redisReadTimeout}\``,
    expected: 'a whole number from 10 to 60000 (milliseconds)',
    description:
      'a Redis node that has answered nothing for so long while feature requests wait for it is not asked for a while, ms',
    commands: ['up', 'serve'],
    fromText: numberFromText,
  },
  {
    key: 'shards',
    flag: '--shards <n>',
    env: 'MILLRACE_SHARDS',
    defaultText: '`1`; `16` on a cluster',
    expected: 'a whole number from 1 to 1024',
    description:
      'groups of keys that a Redis Cluster can place on different nodes; fixed when a store is first used',
    commands: ROLES,
    fromText: numberFromText,
  },
  {
    key: 'registry',
    flag: '--registry <urls>',
    env: 'MILLRACE_REGISTRY',
    defaultText: 'none: records are JSON',
    expected: 'http or https URLs, separated by commas',
    description: "schema registry with Confluent's REST API; several addresses of one separated by commas",
    commands: REGISTRY,
    secret: true,
  },
  {
    key: 'registryUsername',
    flag: '--registry-username <name>',
    env: 'MILLRACE_REGISTRY_USERNAME',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description: 'registry user',
    commands: REGISTRY,
  },
  {
    key: 'registryPassword',
    flag: '--registry-password <password>',
    env: 'MILLRACE_REGISTRY_PASSWORD',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description: 'registry password; better given by the variable',
    commands: REGISTRY,
    secret: true,
  },
  {
    key: 'registryToken',
    flag: '--registry-token <token>',
    env: 'MILLRACE_REGISTRY_TOKEN',
    defaultText: 'none',
    expected: 'a text that is not empty',
    description: 'bearer token for the registry, in place of user and password',
    commands: REGISTRY,
    secret: true,
  },
  {
    key: 'registryCa',
    flag: '--registry-ca <file>',
    env: 'MILLRACE_REGISTRY_CA',
    defaultText: 'the CAs of the system',
    expected: 'the path of a PEM file',
    description: 'certificates that the registry must be signed by (PEM)',
    commands: REGISTRY,
  },
  {
    key: 'registryCert',
    flag: '--registry-cert <file>',
    env: 'MILLRACE_REGISTRY_CERT',
    defaultText: 'none',
    expected: 'the path of a PEM file',
    description: 'certificate shown to the registry (PEM)',
    commands: REGISTRY,
  },
  {
    key: 'registryKey',
    flag: '--registry-key <file>',
    env: 'MILLRACE_REGISTRY_KEY',
    defaultText: 'none',
    expected: 'the path of a PEM file',
    description: 'key of that certificate (PEM)',
    commands: REGISTRY,
  },
  {
    key: 'onLostSchema',
    flag: '--on-lost-schema <policy>',
    env: 'MILLRACE_ON_LOST_SCHEMA',
    defaultText: `\`${SERVER_DEFAULTS.onLostSchema}\``,
    expected: 'stop or continue',
    description:
      'where the registry does not have the schema of a record, or there is none: `stop` its partition until it has, or ' +
      '`continue`: the record is a dead letter',
    commands: [...INGEST, 'training-set'],
  },
];
