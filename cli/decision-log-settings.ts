/** The settings of the decision log, and what it is opened with. */
import { z } from 'zod';
import type { DecisionLogError, DecisionLogSettings } from '../serve/decision-log/decision-log.ts';
import { SECRET_MIN_CHARACTERS } from '../serve/decision-log/key-hash.ts';
import { CliError } from './cli-error.ts';
import { numberFromText } from './setting-text.ts';
import type { Command, Setting } from './settings.ts';

/** null: not given. Paths are absolute. */
export interface DecisionLogConfig {
  readonly decisionLog: string | null;
  readonly decisionLogSample: number;
  readonly decisionLogKeys: 'plain' | 'hashed';
  readonly decisionLogSecret: string | null;
}

export const DECISION_LOG_SCHEMAS = {
  decisionLog: z
    .string()
    .min(1)
    .refine((value) => !value.includes('\0')),
  decisionLogSample: z.number().gt(0).max(1),
  decisionLogKeys: z.enum(['plain', 'hashed']),
  decisionLogSecret: z.string().min(SECRET_MIN_CHARACTERS).max(4_096),
} as const satisfies Record<keyof DecisionLogConfig, z.ZodType>;

export const DECISION_LOG_DEFAULTS = {
  decisionLog: null,
  decisionLogSample: 1,
  decisionLogKeys: 'hashed',
  decisionLogSecret: null,
} as const satisfies DecisionLogConfig;

const SERVING: readonly Command[] = ['up', 'serve'];

export const DECISION_LOG_SETTINGS: readonly Setting[] = [
  {
    key: 'decisionLog',
    flag: '--decision-log <dir>',
    env: 'MILLRACE_DECISION_LOG',
    defaultText: 'none: answers are not logged',
    expected: 'the path of a directory',
    description:
      'where answered feature requests are logged, as files of NDJSON; created if missing, and any number of processes may share it',
    commands: SERVING,
  },
  {
    key: 'decisionLogSample',
    flag: '--decision-log-sample <share>',
    env: 'MILLRACE_DECISION_LOG_SAMPLE',
    defaultText: `\`${DECISION_LOG_DEFAULTS.decisionLogSample}\``,
    expected: 'a number above 0, at most 1',
    description: 'share of the feature requests that are logged, chosen by their `x-request-id`',
    commands: SERVING,
    fromText: numberFromText,
  },
  {
    key: 'decisionLogKeys',
    flag: '--decision-log-keys <form>',
    env: 'MILLRACE_DECISION_LOG_KEYS',
    defaultText: `\`${DECISION_LOG_DEFAULTS.decisionLogKeys}\``,
    expected: 'plain or hashed',
    description: 'entity keys in the decision log: `plain`, or `hashed` with a secret (HMAC-SHA-256)',
    commands: SERVING,
  },
  {
    key: 'decisionLogSecret',
    flag: '--decision-log-secret <text>',
    env: 'MILLRACE_DECISION_LOG_SECRET',
    defaultText: 'none',
    expected: `a text of at least ${SECRET_MIN_CHARACTERS} characters`,
    description: `secret of that hash, at least ${SECRET_MIN_CHARACTERS} characters; better given by the variable`,
    commands: [...SERVING, 'training-set', 'skew'],
    secret: true,
  },
];

/** Lines of `name  value` for the start. */
export function decisionLogLines(config: DecisionLogConfig): (readonly [string, string])[] {
  const { decisionLog, decisionLogSample: sample, decisionLogKeys: keys } = config;
  if (decisionLog === null) return [];
  return [
    ['decisions', `${decisionLog} (${sample === 1 ? 'every answer' : `a share of ${sample}`}, keys ${keys})`],
  ];
}

/** What the decision log is opened with; none is wanted: nothing. @throws CliError where its secret is missing */
export function decisionLogOption(config: DecisionLogConfig): { readonly decisionLog?: DecisionLogSettings } {
  const { decisionLog: directory, decisionLogKeys, decisionLogSecret, decisionLogSample: sample } = config;
  if (directory === null) return {};
  if (decisionLogKeys === 'plain') return { decisionLog: { directory, sample, secret: null } };
  if (decisionLogSecret === null) {
    throw new CliError(
      'the decision log hashes entity keys and needs a secret for it: MILLRACE_DECISION_LOG_SECRET, or --decision-log-keys plain',
    );
  }
  return { decisionLog: { directory, sample, secret: decisionLogSecret } };
}

/** As the user is told of it. */
export function decisionLogProblem(error: DecisionLogError): CliError {
  return new CliError(`${error.message} (--decision-log)`, { cause: error });
}
