/** What was typed behind `npm run loadtest --`. */
import { isAbsolute, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { integerOption, numberOption, type OptionValues, UsageError } from '../scripts/dev-command.ts';
import { checkoutRoot } from '../services/libraries/library.ts';
import type { LoadTestOptions } from './run-loadtest.ts';
import { type EngineMode, SCENARIO_NAMES, type ScenarioName, scenarioOf } from './scenarios.ts';

export const HELP = `npm run loadtest -- SCENARIO [options]

Starts the engine on a Kafka and a Redis of its own, or embedded, fills it with history, puts the scenario's load on it with
k6, and judges it by the scenario's SLOs. Prints a table, and writes report.html and report.json. Ends with 1 where an SLO
is not met. k6 is taken from K6 (the path of it), from PATH, or built once with Go (some minutes), or run by Docker.

${SCENARIO_NAMES.map((name) => `  ${name.padEnd(10)} ${scenarioOf(name).summary}`).join('\n')}

  --engine MODE   roles: serve, ingest and compact over Kafka and Redis (default); embedded: one process over lmdb
  --rate N        requests per second (default: the scenario's; overload measures what is sustainable)
  --duration S    seconds of the main phase (default: the scenario's)
  --events N      events per second beside the requests (default: the scenario's)
  --history N     events that are there before, over the longest window (default 200000)
  --keys N        cards or addresses that these are of (default 5000)
  --seed N        of events and requests (default 1)
  --bare          mixed, with roles: the same load on a bare fastify route with two HMGETs, in turns
  --no-realtime   nothing is real-time, not even where the system permits it (default: k6, and what requests and events wait for)
  --small         little of everything, to see that it works
  --profile DIR   write CPU and heap profiles of the engine's processes (they cost speed)
  --out DIR       where the report goes (default .loadtest/SCENARIO-ENGINE in the checkout)
  --help          this text`;

export const OPTIONS = {
  engine: { type: 'string' },
  rate: { type: 'string' },
  duration: { type: 'string' },
  events: { type: 'string' },
  history: { type: 'string' },
  keys: { type: 'string' },
  seed: { type: 'string', default: '1' },
  bare: { type: 'boolean', default: false },
  'no-realtime': { type: 'boolean', default: false },
  small: { type: 'boolean', default: false },
  profile: { type: 'string' },
  out: { type: 'string' },
} as const;

/** What `--small` stands for, where nothing else is said. */
const SMALL = { rate: 40, duration: 4, events: 40, history: 4_000, keys: 100 } as const;
const HISTORY = 200_000;
const KEYS = 5_000;

type Arguments = Omit<LoadTestOptions, 'k6' | 'repo' | 'onProgress'>;

/** @throws UsageError */
export function argumentsOf(name: string | undefined, values: OptionValues<typeof OPTIONS>): Arguments {
  if (name === undefined) throw new UsageError(`which scenario? ${SCENARIO_NAMES.join(', ')}`);
  if (!SCENARIO_NAMES.includes(name as ScenarioName)) {
    throw new UsageError(`there is no scenario ${name}: ${SCENARIO_NAMES.join(', ')}`);
  }
  const scenario = scenarioOf(name as ScenarioName);
  const mode = (values.engine ?? scenario.modes[0]!) as EngineMode;
  if (mode !== 'roles' && mode !== 'embedded')
    throw new UsageError(`--engine must be roles or embedded, not '${mode}'`);
  if (!scenario.modes.includes(mode))
    throw new UsageError(`${name} needs --engine ${scenario.modes.join(' or ')}`);
  if (values.bare && (name !== 'mixed' || mode !== 'roles'))
    throw new UsageError('--bare goes with mixed and --engine roles');
  const { small, rate, duration, events, history, keys, seed, out, profile } = values;
  if (events !== undefined && scenario.eventsPerSecond === 0)
    throw new UsageError(`--events: ${name} sends none`);
  const smallRate = scenario.script === 'push-events' ? 2 : SMALL.rate;
  return {
    name: name as ScenarioName,
    mode,
    ratePerSecond:
      rate !== undefined
        ? numberOption('rate', rate, { min: 1, max: 100_000 })
        : small
          ? smallRate
          : (scenario.rate?.[mode] ?? null),
    seconds: numberOption('duration', duration ?? String(small ? SMALL.duration : scenario.seconds), {
      min: 1,
      max: 7 * 86_400,
    }),
    eventsPerSecond: integerOption(
      'events',
      events ?? String(small ? Math.min(SMALL.events, scenario.eventsPerSecond) : scenario.eventsPerSecond),
      { min: 0, max: 100_000 },
    ),
    history: integerOption('history', history ?? String(small ? SMALL.history : HISTORY), {
      min: 1,
      max: 1e9,
    }),
    keys: integerOption('keys', keys ?? String(small ? SMALL.keys : KEYS), { min: 1, max: 65_536 }),
    seed: integerOption('seed', seed, { min: 0 }),
    bare: values.bare,
    realtime: !values['no-realtime'],
    directory: absolute(out ?? join(checkoutRoot, '.loadtest', `${name}-${mode}`)),
    profile: profile === undefined ? null : absolute(profile),
  };
}

// npm runs scripts in the checkout; a relative path is meant from where npm was called.
const absolute = (path: string): string =>
  isAbsolute(path) ? path : resolve(process.env.INIT_CWD ?? process.cwd(), path);

/** The scenario comes before its options. */
export function scenarioFirst(argv: readonly string[]): {
  readonly name: string | undefined;
  readonly rest: readonly string[];
} {
  const { tokens } = parseArgs({ args: [...argv], options: OPTIONS, strict: false, tokens: true });
  const positional = tokens.find(({ kind }) => kind === 'positional');
  if (positional === undefined) return { name: undefined, rest: argv };
  return { name: argv[positional.index], rest: argv.filter((_, i) => i !== positional.index) };
}
