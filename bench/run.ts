/** `npm run bench -- [--roles] [--seconds N] [--events N] [--seed N] [--out FILE]`; see README.md. */
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { register } from 'node:module';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { formatReport } from './report.ts';
import { buildCheckout } from './roles/build.ts';
import { formatRolesReport } from './roles/roles-report.ts';
import { PHASES, type Phase, runRolesBench } from './roles/run-roles-bench.ts';
import { Scope } from './roles/scope.ts';
import { runBench } from './run-bench.ts';

const HELP = `npm run bench -- [options]
npm run bench -- --roles [options]

Reads and writes of the service card_fraud per second, and their latencies, as ratios to bare fastify and bare
lmdb in the same run. With --roles: processes of the engine over a Kafka and a Redis that it starts, as ratios to
bare fastify, kafkajs and ioredis.

  --seconds N  measuring time of each side of each figure (default 5)
  --events N   events of the history that is loaded before (default 200000)
  --seed N     seed of the events (default 1)
  --out FILE   also write the report as JSON
  --help       this text

with --roles
  --only LIST    some of ${PHASES.join(',')}
  --profile DIR  write CPU and heap profiles of the engine's processes (they cost speed)`;

interface Options {
  readonly roles: boolean;
  readonly seconds: number;
  readonly events: number;
  readonly seed: number;
  readonly out: string | undefined;
  readonly phases: ReadonlySet<Phase>;
  readonly profile: string | null;
}

function fail(message: string): never {
  console.error(`${message}\n\n${HELP}`);
  process.exit(2);
}

function parse(): Options {
  try {
    const { values } = parseArgs({
      options: {
        roles: { type: 'boolean', default: false },
        seconds: { type: 'string', default: '5' },
        events: { type: 'string', default: '200000' },
        seed: { type: 'string', default: '1' },
        out: { type: 'string' },
        only: { type: 'string' },
        profile: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    const { roles, only, profile, out } = values;
    const [seconds, events, seed] = [Number(values.seconds), Number(values.events), Number(values.seed)];
    if (!(seconds > 0 && seconds <= 3600)) fail('--seconds must be a number above 0, at most 3600');
    if (!(Number.isInteger(events) && events >= 1)) fail('--events must be an integer of at least 1');
    if (!Number.isInteger(seed)) fail('--seed must be an integer');
    if (!roles && (only !== undefined || profile !== undefined)) {
      fail('--only and --profile go with --roles');
    }
    const names = only?.split(',') ?? PHASES;
    const unknown = names.filter((name) => !(PHASES as readonly string[]).includes(name));
    if (unknown.length > 0) fail(`--only: ${unknown.join(', ')} is none of ${PHASES.join(', ')}`);
    return {
      ...{ roles, seconds, events, seed, out },
      phases: new Set(names as readonly Phase[]),
      profile: profile === undefined ? null : resolve(profile),
    };
  } catch (error) {
    return fail((error as Error).message);
  }
}

async function cardFraud(): Promise<CompiledRepo> {
  // The features import the package by its name: that is to be these very modules, built or not.
  const ownIndex = JSON.stringify(new URL('../index.ts', import.meta.url).href);
  const hooks = `export const resolve = (specifier, context, next) =>
  next(specifier === 'millrace' ? ${ownIndex} : specifier, context);`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
  return compileRepo(Object.values(await import('../examples/card-fraud/features.ts')));
}

const INTERRUPTED = 130;

async function benchRoles({ profile, ...options }: Options, repo: CompiledRepo) {
  onProgress('building …');
  // Always: whether a build is stale is told by some of its sources only.
  buildCheckout({ always: true });
  if (profile !== null) mkdirSync(profile, { recursive: true });
  const scope = new Scope();
  let interrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.error(`\n${signal}: ending what was started …`);
      interrupted = true;
      // What was under way fails in places that nobody awaits any more.
      process.on('unhandledRejection', () => {});
      void scope
        .close()
        .catch(() => {})
        .then(() => process.exit(INTERRUPTED));
    });
  }
  try {
    return await runRolesBench({ ...options, repo, profile, onProgress }, scope);
  } catch (error) {
    // What was ended fails wherever it was used.
    if (interrupted) await new Promise(() => {});
    throw error;
  } finally {
    await scope.close();
  }
}

const onProgress = (text: string): void => console.error(text);

const options = parse();
const { seconds, events, seed, out } = options;
const repo = await cardFraud();
let report: object;
if (options.roles) {
  const roles = await benchRoles(options, repo);
  console.log(formatRolesReport(roles));
  report = roles;
} else {
  const embedded = await runBench({ repo, seconds, events, seed, onProgress });
  console.log(formatReport(embedded));
  report = embedded;
}
if (out !== undefined) await writeFile(out, `${JSON.stringify(report, null, 2)}\n`);
