/**
 * Every setting, once: its flag, environment variable, key in the configuration file, default and the values it
 * admits. `config.ts` reads them, `--help` and the table of the README are made from them.
 */
import { z } from 'zod';
import { DEFAULT_ARCHIVE_EVERY_MS } from '../archive/archive.ts';
import { formatByteSize, parseByteSize } from './byte-size.ts';
import {
  DECISION_LOG_DEFAULTS,
  DECISION_LOG_SCHEMAS,
  DECISION_LOG_SETTINGS,
  type DecisionLogConfig,
} from './decision-log-settings.ts';
import { NICE_BY_ROLE } from './scheduling.ts';
import {
  SERVER_DEFAULTS,
  SERVER_PATH_SETTINGS,
  SERVER_SCHEMAS,
  SERVER_SETTINGS,
  type ServersConfig,
} from './server-settings.ts';
import { booleanFromText, numberFromText } from './setting-text.ts';

export type Command =
  | 'up'
  | 'ingest'
  | 'serve'
  | 'compact'
  | 'rebuild'
  | 'backfill'
  | 'schemas'
  | 'replay'
  | 'get'
  | 'validate'
  | 'dlq'
  | 'gaps'
  | 'training-set'
  | 'load'
  | 'skew';

export interface Setting {
  /** Key in the configuration file and in `Config`. */
  readonly key: keyof Config;
  /** As commander takes it. */
  readonly flag: string;
  /** There is also `--no-…`. @default false */
  readonly negatable?: boolean;
  readonly env: string;
  /** What `--help` and the README say is used when nothing is given. */
  readonly defaultText: string;
  /** Completes the sentence `<key> must be …`. */
  readonly expected: string;
  readonly description: string;
  /** Commands that have the flag. Environment and file may hold every setting for every command. */
  readonly commands: readonly Command[];
  /**
   * A flag's or variable's text as the value the schema checks; text that is none is left as it is and fails there.
   * @default the text
   */
  readonly fromText?: (text: string) => unknown;
  /** Never shown, not even in an error: it is a password, or may hold one. @default false */
  readonly secret?: boolean;
}

export interface Config extends ServersConfig, DecisionLogConfig {
  /** Absolute path. */
  readonly features: string;
  readonly host: string;
  readonly port: number;
  /** Processes that serve on the port. */
  readonly workers: number;
  /** Absolute path. */
  readonly dataDir: string;
  readonly clock: 'wall' | 'event';
  readonly simulate: boolean;
  /** Events per second. */
  readonly simulateRate: number;
  readonly simulateSeed: number;
  readonly maxLogBytes: number;
  readonly onGap: 'stop' | 'continue';
  /** Absolute path; null: nothing is archived. */
  readonly archive: string | null;
  /** Seconds. */
  readonly archiveEvery: number;
  readonly maxInFlight: number;
  readonly maxConnections: number;
  /** Seconds. */
  readonly warmUp: number;
  /** Seconds. */
  readonly shutdownTimeout: number;
  /** null: by role. */
  readonly nice: number | null;
  readonly realtime: boolean;
  readonly logLevel: LogLevel;
  /** Of the server that `replay`, `load`, `get`, `dlq` and `gaps` talk to. */
  readonly url: string;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const MIN_LOG_BYTES = 16 * 2 ** 20;
const MAX_LOG_BYTES = 2 ** 50;
const DEFAULT_MAX_LOG_BYTES = 2 * 2 ** 30;

/** Keys of settings that are paths: relative ones start where they are written down. */
export const PATH_SETTINGS: readonly (keyof Config)[] = [
  'features',
  'dataDir',
  'decisionLog',
  'archive',
  ...SERVER_PATH_SETTINGS,
];

const path = z
  .string()
  .min(1)
  .refine((value) => !value.includes('\0'));

/** What each setting admits. */
export const SETTING_SCHEMAS = {
  features: path,
  host: z.string().regex(/^[A-Za-z0-9.:_-]{1,253}$/),
  port: z.int().min(0).max(65_535),
  workers: z.int().min(1).max(64),
  dataDir: path,
  clock: z.enum(['wall', 'event']),
  simulate: z.boolean(),
  simulateRate: z.number().min(0.001).max(10_000),
  simulateSeed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1),
  maxLogBytes: z.int().min(MIN_LOG_BYTES).max(MAX_LOG_BYTES),
  onGap: z.enum(['stop', 'continue']),
  archive: path,
  archiveEvery: z.number().min(1).max(86_400),
  maxInFlight: z.int().min(1).max(100_000),
  maxConnections: z.int().min(1).max(1_000_000),
  warmUp: z.number().min(0).max(60),
  shutdownTimeout: z.number().min(1).max(3_600),
  nice: z.int().min(0).max(19),
  realtime: z.boolean(),
  logLevel: z.enum(LOG_LEVELS),
  url: z.url({ protocol: /^https?$/ }),
  ...DECISION_LOG_SCHEMAS,
  ...SERVER_SCHEMAS,
} as const satisfies Record<keyof Config, z.ZodType>;

/** Defaults but for `features` and `url`, which depend on the package's place and on other settings. */
export const DEFAULTS = {
  host: '127.0.0.1',
  port: 8787,
  workers: 1,
  dataDir: './.millrace',
  clock: 'wall',
  simulate: false,
  simulateRate: 20,
  simulateSeed: 1,
  maxLogBytes: DEFAULT_MAX_LOG_BYTES,
  onGap: 'continue',
  archive: null,
  archiveEvery: DEFAULT_ARCHIVE_EVERY_MS / 1_000,
  maxInFlight: 256,
  maxConnections: 4_096,
  warmUp: 1,
  shutdownTimeout: 20,
  nice: null,
  realtime: false,
  logLevel: 'warn',
  ...DECISION_LOG_DEFAULTS,
  ...SERVER_DEFAULTS,
} as const satisfies Partial<Config>;

const bytesFromText = (value: string): unknown => parseByteSize(value) ?? value;

const SERVER: readonly Command[] = ['up', 'ingest', 'serve', 'compact'];
const ALONE: readonly Command[] = ['up'];
const SERVING: readonly Command[] = ['up', 'serve'];
const INGEST: readonly Command[] = ['up', 'ingest'];
const INGEST_OR_SERVE: readonly Command[] = ['up', 'ingest', 'serve'];
const CLIENT: readonly Command[] = ['replay', 'load', 'get', 'dlq', 'gaps'];

export const SETTINGS: readonly Setting[] = [
  {
    key: 'features',
    flag: '--features <dir>',
    env: 'MILLRACE_FEATURES',
    defaultText: '`examples/card-fraud` of the package',
    expected: 'the path of a directory with a features.ts',
    description: 'the feature repo: a directory with a features.ts',
    commands: [
      ...SERVER,
      'rebuild',
      'backfill',
      'schemas',
      'replay',
      'validate',
      'dlq',
      'training-set',
      'load',
      'skew',
    ],
  },
  {
    key: 'host',
    flag: '--host <address>',
    env: 'MILLRACE_HOST',
    defaultText: `\`${DEFAULTS.host}\``,
    expected: 'a host name or an IP address',
    description:
      'address to listen on; the default admits this machine only (there is no authentication yet)',
    commands: SERVER,
  },
  {
    key: 'port',
    flag: '--port <n>',
    env: 'MILLRACE_PORT',
    defaultText: `\`${DEFAULTS.port}\``,
    expected: 'a whole number from 0 to 65535 (0: any free port)',
    description: 'port to listen on; 0: any free one, which is printed',
    commands: SERVER,
    fromText: numberFromText,
  },
  {
    key: 'workers',
    flag: '--workers <n>',
    env: 'MILLRACE_WORKERS',
    defaultText: `\`${DEFAULTS.workers}\``,
    expected: 'a whole number from 1 to 64',
    description: 'of `serve`: processes that serve on the port, as many as there are cores to spare',
    commands: ['serve'],
    fromText: numberFromText,
  },
  {
    key: 'dataDir',
    flag: '--data-dir <dir>',
    env: 'MILLRACE_DATA_DIR',
    defaultText: `\`${DEFAULTS.dataDir}\``,
    expected: 'the path of a directory',
    description:
      'where the embedded log and store are kept, one process at a time; created if missing, but not by `training-set` and `skew`',
    commands: [...ALONE, 'training-set', 'skew'],
  },
  {
    key: 'clock',
    flag: '--clock <clock>',
    env: 'MILLRACE_CLOCK',
    defaultText: `\`${DEFAULTS.clock}\``,
    expected: 'wall or event',
    description:
      "`wall`: now is the machine's time; `event`: now follows the events' times, to replay history; " +
      'fixed when a store is first used, for every process over it, `rebuild` and `backfill`',
    commands: [...SERVER, 'rebuild', 'backfill'],
  },
  {
    key: 'simulate',
    flag: '--simulate',
    negatable: true,
    env: 'MILLRACE_SIMULATE',
    defaultText: '`false`; `npm start`: `true`',
    expected: 'true or false',
    description: "feed events from the feature repo's simulator.ts",
    commands: ALONE,
    fromText: booleanFromText,
  },
  {
    key: 'simulateRate',
    flag: '--simulate-rate <n>',
    env: 'MILLRACE_SIMULATE_RATE',
    defaultText: `\`${DEFAULTS.simulateRate}\``,
    expected: 'a number from 0.001 to 10000 (events per second)',
    description: 'events per second of the simulator',
    commands: ALONE,
    fromText: numberFromText,
  },
  {
    key: 'simulateSeed',
    flag: '--simulate-seed <n>',
    env: 'MILLRACE_SIMULATE_SEED',
    defaultText: `\`${DEFAULTS.simulateSeed}\``,
    expected: 'a whole number from 0 to 2147483647',
    description: "seed of the simulator's randomness",
    commands: ALONE,
    fromText: numberFromText,
  },
  {
    key: 'maxLogBytes',
    flag: '--max-log-bytes <size>',
    env: 'MILLRACE_MAX_LOG_BYTES',
    defaultText: `\`${formatByteSize(DEFAULTS.maxLogBytes)}\``,
    expected: `a size from ${formatByteSize(MIN_LOG_BYTES)} to ${formatByteSize(MAX_LOG_BYTES)}, such as 512MiB or 4GB or a number of bytes`,
    description: "limit of each source's event log; the oldest events beyond it are dropped",
    commands: ALONE,
    fromText: bytesFromText,
  },
  {
    key: 'onGap',
    flag: '--on-gap <policy>',
    env: 'MILLRACE_ON_GAP',
    defaultText: `\`${DEFAULTS.onGap}\``,
    expected: 'stop or continue',
    description:
      'where events were gone from the log before they were applied and a window may ask for them: `stop` their ' +
      'partition, or `continue` and mark values that may lack them',
    commands: INGEST,
  },
  {
    key: 'archive',
    flag: '--archive <dir>',
    env: 'MILLRACE_ARCHIVE',
    defaultText: 'none',
    expected: 'the path of a directory',
    description:
      'where accepted events are written as Parquet, by source and day, for as long as they are left there (archive/README.md); all ' +
      'processes that ingest need the same directory, on a file system that has hard links',
    commands: INGEST,
  },
  {
    key: 'archiveEvery',
    flag: '--archive-every <s>',
    env: 'MILLRACE_ARCHIVE_EVERY',
    defaultText: `\`${DEFAULTS.archiveEvery}\``,
    expected: 'a number from 1 to 86400 (seconds)',
    description:
      'how long events wait before they are written to the archive, seconds: less is sooner there, more makes fewer and larger files',
    commands: INGEST,
    fromText: numberFromText,
  },
  {
    key: 'maxInFlight',
    flag: '--max-in-flight <n>',
    env: 'MILLRACE_MAX_IN_FLIGHT',
    defaultText: `\`${DEFAULTS.maxInFlight}\``,
    expected: 'a whole number from 1 to 100000',
    description:
      'feature requests answered at once; pushes may be half of that. Further ones are refused at once, and fewer ' +
      'are taken while the process is late or requests wait for one another',
    commands: SERVING,
    fromText: numberFromText,
  },
  {
    key: 'maxConnections',
    flag: '--max-connections <n>',
    env: 'MILLRACE_MAX_CONNECTIONS',
    defaultText: `\`${DEFAULTS.maxConnections}\``,
    expected: 'a whole number from 1 to 1000000',
    description: 'connections of clients at once; further ones are closed',
    commands: SERVER,
    fromText: numberFromText,
  },
  {
    key: 'warmUp',
    flag: '--warm-up <s>',
    env: 'MILLRACE_WARM_UP',
    defaultText: `\`${DEFAULTS.warmUp}\``,
    expected: 'a number from 0 to 60 (seconds)',
    description:
      'of `serve`: how long the process answers made-up requests before it listens, so that the first real ones are not slow; 0: not ' +
      'at all',
    commands: ['serve'],
    fromText: numberFromText,
  },
  {
    key: 'shutdownTimeout',
    flag: '--shutdown-timeout <s>',
    env: 'MILLRACE_SHUTDOWN_TIMEOUT',
    defaultText: `\`${DEFAULTS.shutdownTimeout}\``,
    expected: 'a number from 1 to 3600 (seconds)',
    description: 'how long the process may take to drain and end after SIGTERM, seconds',
    commands: SERVER,
    fromText: numberFromText,
  },
  {
    key: 'nice',
    flag: '--nice <n>',
    env: 'MILLRACE_NICE',
    defaultText: `${NICE_BY_ROLE.ingest} of \`ingest\`, ${NICE_BY_ROLE.compact} of \`compact\`, else 0`,
    expected: 'a whole number from 0 to 19',
    description:
      'how far the process steps back where others on its machine want a core too, 0: not at all, to 19. Serving goes first. ' +
      'Between containers and services their CPU weights decide instead',
    commands: SERVER,
    fromText: numberFromText,
  },
  {
    key: 'realtime',
    flag: '--realtime',
    negatable: true,
    env: 'MILLRACE_REALTIME',
    defaultText: '`false`',
    expected: 'true or false',
    description:
      'the process gets a core before everything else on its machine, `serve` before `ingest` (SCHED_FIFO; Linux, as root or ' +
      'with `CAP_SYS_NICE`): for machines that do several things, and have more cores than processes that serve',
    commands: INGEST_OR_SERVE,
    fromText: booleanFromText,
  },
  {
    key: 'logLevel',
    flag: '--log-level <level>',
    env: 'MILLRACE_LOG_LEVEL',
    defaultText: `\`${DEFAULTS.logLevel}\``,
    expected: `one of ${LOG_LEVELS.join(', ')}`,
    description: `level of the log (JSON lines on stderr): ${LOG_LEVELS.join(', ')}`,
    commands: SERVER,
  },
  {
    key: 'url',
    flag: '--url <url>',
    env: 'MILLRACE_URL',
    defaultText: '`http://127.0.0.1:8787`; with other `host` and `port` in variables or the file, those',
    expected: 'an http or https URL',
    description:
      'the running server that `replay`, `load`, `get`, `dlq` and `gaps` talk to, and `rebuild` and `backfill` without `kafka` and `redis`',
    commands: [...CLIENT, 'rebuild', 'backfill'],
  },
  ...DECISION_LOG_SETTINGS,
  ...SERVER_SETTINGS,
];

/** The variable that stands for `--config FILE`. */
export const CONFIG_FILE_ENV = 'MILLRACE_CONFIG';
