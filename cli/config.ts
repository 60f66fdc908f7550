/**
 * The configuration: flags over environment over file over defaults, read once, checked as a whole, frozen.
 * Whatever is given must be valid, also where something stronger overrides it: a typo should not lie in wait.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import secureJson from 'secure-json-parse';
import { parseByteSize } from './byte-size.ts';
import { CliError } from './cli-error.ts';
import { packageRoot } from './package-root.ts';
import {
  CONFIG_FILE_ENV,
  type Config,
  DEFAULTS,
  PATH_SETTINGS,
  SETTING_SCHEMAS,
  SETTINGS,
  type Setting,
} from './settings.ts';

export interface ConfigProblem {
  /** The setting, or the unknown name. */
  readonly field: string;
  /** Where it was given: `flag --port`, `environment variable MILLRACE_PORT`, `file x.json`. */
  readonly origin: string;
  readonly message: string;
}

/** A configuration that cannot be used, with every problem found. */
export class ConfigError extends CliError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const lines = problems.map(({ field, origin, message }) => `  ${field} (${origin}): ${message}`);
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    super(`${count} in the configuration:\n${lines.join('\n')}`);
    this.problems = problems;
  }
}

export interface ConfigInput {
  /** Values of flags as commander gives them; undefined: not given. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths of flags and environment start. */
  readonly cwd: string;
}

/** A value before it is checked. */
interface Given {
  readonly value: unknown;
  readonly origin: string;
  /** Where a relative path starts. */
  readonly base: string;
}

/** Without the user and password that a URL may hold. */
const show = (value: unknown): string => {
  const text = (JSON.stringify(value) ?? String(value)).replaceAll(/\/\/[^/@]*@/g, '//…@');
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
};

/** @throws ConfigError */
export function loadConfig({ flags, env, cwd }: ConfigInput): Config {
  const problems: ConfigProblem[] = [];
  const file = readConfigFile(flags, env, cwd, problems);
  refuseUnknownVariables(env, problems);

  const values: Record<string, unknown> = { ...DEFAULTS };
  for (const path of PATH_SETTINGS) {
    if (typeof values[path] === 'string') values[path] = resolve(cwd, values[path] as string);
  }
  for (const setting of SETTINGS) {
    for (const given of givenFor(setting, { flags, env, cwd }, file)) {
      const checked = SETTING_SCHEMAS[setting.key].safeParse(given.value);
      if (checked.success) {
        values[setting.key] = PATH_SETTINGS.includes(setting.key)
          ? resolve(given.base, checked.data as string)
          : checked.data;
      } else {
        const shown = setting.secret ? 'something else' : show(given.value);
        const message = `must be ${setting.expected}; it is ${shown}`;
        problems.push({ field: setting.key, origin: given.origin, message });
      }
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  values.features ??= fileURLToPath(new URL('examples/card-fraud', packageRoot));
  values.url ??= urlOf(values.host as string, values.port as number);
  return Object.freeze(values) as unknown as Config;
}

/** `http://host:port` as a client on this machine reaches a server that listens there. */
export function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

/** What is given for a setting, the weakest first. */
function givenFor(setting: Setting, { flags, env, cwd }: ConfigInput, file: ConfigFile | null): Given[] {
  const given: Given[] = [];
  if (file !== null && Object.hasOwn(file.values, setting.key)) {
    const value = file.values[setting.key];
    // Sizes may be text in the file too: 4294967296 is hard to read.
    const bytes = setting.key === 'maxLogBytes' && typeof value === 'string' ? parseByteSize(value) : null;
    given.push({ value: bytes ?? value, origin: `file ${file.path}`, base: dirname(file.path) });
  }
  const variable = env[setting.env];
  if (variable !== undefined && variable !== '') {
    const origin = `environment variable ${setting.env}`;
    given.push({ value: setting.fromText?.(variable) ?? variable, origin, base: cwd });
  }
  const flag = flags[setting.key];
  if (flag !== undefined) {
    const name = setting.flag.split(' ')[0]!;
    const value = typeof flag === 'string' ? (setting.fromText?.(flag) ?? flag) : flag;
    given.push({ value, origin: `flag ${name}`, base: cwd });
  }
  return given;
}

interface ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

function readConfigFile(
  flags: ConfigInput['flags'],
  env: ConfigInput['env'],
  cwd: string,
  problems: ConfigProblem[],
): ConfigFile | null {
  const flag = typeof flags.config === 'string' ? flags.config : undefined;
  const given = flag ?? (env[CONFIG_FILE_ENV] === '' ? undefined : env[CONFIG_FILE_ENV]);
  if (given === undefined) return null;
  const origin = flag === undefined ? `environment variable ${CONFIG_FILE_ENV}` : 'flag --config';
  const path = resolve(cwd, given);
  const problem = (message: string): null => {
    problems.push({ field: 'config', origin, message: `${path} ${message}` });
    return null;
  };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return problem(`cannot be read: ${(error as Error).message}`);
  }
  let values: unknown;
  try {
    values = secureJson.parse(text);
  } catch (error) {
    return problem(`is not JSON: ${(error as Error).message}`);
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    return problem('must hold a JSON object');
  }
  const known: readonly string[] = SETTINGS.map(({ key }) => key);
  for (const key of Object.keys(values)) {
    if (known.includes(key)) continue;
    problems.push({
      field: key,
      origin: `file ${path}`,
      message: `is no setting; settings are ${known.join(', ')}`,
    });
  }
  return { path, values: values as Record<string, unknown> };
}

function refuseUnknownVariables(env: ConfigInput['env'], problems: ConfigProblem[]): void {
  const known = [CONFIG_FILE_ENV, ...SETTINGS.map((setting) => setting.env)];
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith('MILLRACE_') || known.includes(name)) continue;
    const message = `is no setting; variables are ${known.join(', ')}`;
    problems.push({ field: name, origin: 'environment', message });
  }
}
