/** `npm run bench -- [--roles | --aggregations | --ratios | --overload | --training-sets | --profile DIR] [--seconds N] [--events N] [--seed N] [--out FILE]`; see README.md. */
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { register } from 'node:module';
import { join, resolve } from 'node:path';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import {
  integerOption,
  listOption,
  numberOption,
  type OptionValues,
  runDevCommand,
  UsageError,
} from '../scripts/dev-command.ts';
import { formatAggregationsReport } from './aggregations/aggregations-report.ts';
import { BY_HAND_SIZES } from './aggregations/by-hand.ts';
import {
  AGGREGATION_PHASES,
  type AggregationPhase,
  runAggregationsBench,
} from './aggregations/run-aggregations-bench.ts';
import { scalingPlot } from './aggregations/scaling-plot.ts';
import { formatOverloadReport, runOverloadBench } from './overload/run-overload-bench.ts';
import { formatRatios, type RatiosReport } from './ratios-report.ts';
import { formatReadProfile, profileReads } from './read-profile.ts';
import { formatReport } from './report.ts';
import { buildCheckout } from './roles/build.ts';
import { formatRolesReport } from './roles/roles-report.ts';
import { PHASES, type Phase, runRolesBench } from './roles/run-roles-bench.ts';
import { runInScope } from './roles/scope.ts';
import { runBench } from './run-bench.ts';
import { formatTrainingSets, runTrainingSetsBench } from './training-sets/run-training-sets-bench.ts';

const HELP = `npm run bench -- [options]
npm run bench -- --profile DIR [options]
npm run bench -- --roles [options]
npm run bench -- --aggregations [options]
npm run bench -- --ratios [options]
npm run bench -- --overload [options]
npm run bench -- --training-sets [options]

Reads and writes of the service card_fraud per second, and their latencies, as ratios to bare fastify and bare
lmdb in the same run. With --roles: processes of the engine over a Kafka and a Redis that it starts, as ratios to
bare fastify, kafkajs and ioredis. With --aggregations: what reads, writes and memory of one key cost against its
number of events, and what each aggregation costs. With --ratios: of these two what has a ratio to reach, and all
ratios in one table (--roles --only read,write and --aggregations --only by-hand). With --profile alone: where the time
and the allocations of a read over HTTP go, by part. With --overload: latencies at and beyond what a server takes.
With --training-sets: training sets against DuckDB's own window query, and how their time grows with the history.

  --seconds N  measuring time of each side of each figure (default 5; with --aggregations 2)
  --events N   events of the history that is loaded before (default 200000; with --aggregations: the most events of
               a key, default 1000000; with --ratios of the roles only; with --training-sets: of the largest generated
               history, default 1000000)
  --seed N     seed of the events (default 1)
  --out FILE   also write the report as JSON
  --profile DIR  write CPU and heap profiles of the reads, or with --roles of the engine's processes (they cost speed)
  --help       this text

with --training-sets
  --rounds N     of which the middle one is shown (default 5)

with --roles
  --only LIST    some of ${PHASES.join(',')}
  --views N      views that are rebuilt at once, 1 to 16 (default 1)

with --aggregations
  --only LIST    some of ${AGGREGATION_PHASES.join(',')}
  --days LIST    days that the events of a key are spread over (default 30,90)
  --plots DIR    where to draw scaling-30d.svg and so on (default: not drawn; those kept are in bench/results)`;

type Mode = 'embedded' | 'roles' | 'aggregations' | 'ratios' | 'overload' | 'training-sets';

interface Options {
  readonly mode: Mode;
  readonly seconds: number;
  readonly events: number;
  readonly views: number;
  readonly seed: number;
  readonly rounds: number;
  readonly out: string | undefined;
  readonly phases: ReadonlySet<string>;
  readonly profile: string | null;
  readonly days: readonly number[];
  readonly plots: string | null;
}

const PHASES_OF: Readonly<Record<Mode, readonly string[]>> = {
  embedded: [],
  roles: PHASES,
  aggregations: AGGREGATION_PHASES,
  ratios: [],
  overload: [],
  'training-sets': [],
};

const OPTIONS = {
  roles: { type: 'boolean', default: false },
  aggregations: { type: 'boolean', default: false },
  ratios: { type: 'boolean', default: false },
  overload: { type: 'boolean', default: false },
  'training-sets': { type: 'boolean', default: false },
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string' },
  events: { type: 'string' },
  seed: { type: 'string', default: '1' },
  out: { type: 'string' },
  only: { type: 'string' },
  views: { type: 'string' },
  profile: { type: 'string' },
  days: { type: 'string' },
  plots: { type: 'string' },
} as const;

/** @throws UsageError */
function optionsOf(values: OptionValues<typeof OPTIONS>): Options {
  const { roles, aggregations, ratios, overload, only, profile, plots, out } = values;
  const modes = { roles, aggregations, ratios, overload, 'training-sets': values['training-sets'] };
  const chosen = Object.entries(modes).filter(([, is]) => is);
  if (chosen.length > 1)
    throw new UsageError(
      `one of ${Object.keys(modes)
        .map((name) => `--${name}`)
        .join(', ')}`,
    );
  const mode = (chosen[0]?.[0] ?? 'embedded') as Mode;
  if (!roles && !aggregations && only !== undefined)
    throw new UsageError('--only goes with --roles or --aggregations');
  if (!roles && values.views !== undefined) throw new UsageError('--views goes with --roles');
  if (profile !== undefined && mode !== 'roles' && mode !== 'embedded')
    throw new UsageError('--profile goes with --roles or alone');
  if (!aggregations && (values.days ?? plots) !== undefined)
    throw new UsageError('--days and --plots go with --aggregations');
  const manyEvents = aggregations || mode === 'training-sets';
  const { seconds = aggregations ? '2' : '5', events = manyEvents ? '1000000' : '200000' } = values;
  return {
    mode,
    seconds: numberOption('seconds', seconds, { min: 0.001, max: 3600 }),
    events: integerOption('events', events, { min: 1 }),
    views: integerOption('views', values.views ?? '1', { min: 1, max: 16 }),
    seed: integerOption('seed', values.seed, { min: 0 }),
    rounds: integerOption('rounds', values.rounds, { min: 1, max: 100 }),
    out,
    phases: new Set(listOption('only', only, PHASES_OF[mode])),
    profile: profile === undefined ? null : resolve(profile),
    days: (values.days ?? '30,90').split(',').map((day) => integerOption('days', day, { min: 1, max: 90 })),
    plots: plots === undefined ? null : resolve(plots),
  };
}

async function cardFraud(): Promise<CompiledRepo> {
  // The features import the package by its name: that is to be these very modules, built or not.
  const ownIndex = JSON.stringify(new URL('../index.ts', import.meta.url).href);
  const hooks = `export const resolve = (specifier, context, next) =>
  next(specifier === 'millrace' ? ${ownIndex} : specifier, context);`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
  return compileRepo(Object.values(await import('../examples/card-fraud/features.ts')));
}

async function benchRoles(options: Options, repo: CompiledRepo) {
  onProgress('building …');
  // Always: whether a build is stale is told by some of its sources only.
  buildCheckout({ always: true });
  const { seconds, events, views, seed, profile } = options;
  if (profile !== null) mkdirSync(profile, { recursive: true });
  const phases = options.phases as ReadonlySet<Phase>;
  return runInScope((scope) =>
    runRolesBench({ repo, phases, seconds, events, views, seed, profile, onProgress }, scope),
  );
}

async function benchAggregations(options: Options) {
  const { seconds, events, seed, days, plots } = options;
  const phases = options.phases as ReadonlySet<AggregationPhase>;
  const report = await runInScope((scope) =>
    runAggregationsBench({ phases, seconds, events, seed, days, onProgress }, scope),
  );
  if (plots !== null && report.scaling.length > 0) {
    mkdirSync(plots, { recursive: true });
    const { node, cpu, measured } = report.environment;
    const caption = [
      `Windows from 1 minute to 90 days. Node ${node}, ${cpu}; ${measured}.`,
      // Not the arguments as given: paths of the machine that drew it say nothing to a reader.
      `Drawn by: npm run bench -- --aggregations --plots DIRECTORY, seed ${seed}.`,
    ];
    for (const span of days) {
      await writeFile(join(plots, `scaling-${span}d.svg`), scalingPlot(report.scaling, span, caption));
    }
  }
  return report;
}

const onProgress = (text: string): void => console.error(text);

await runDevCommand({
  name: 'npm run bench',
  help: HELP,
  options: OPTIONS,
  run: async (values) => {
    const options = optionsOf(values);
    const { mode, seconds, events, seed, out } = options;
    let report: object;
    if (mode === 'aggregations') {
      const aggregations = await benchAggregations(options);
      console.log(formatAggregationsReport(aggregations));
      report = aggregations;
    } else if (mode === 'roles') {
      const roles = await benchRoles(options, await cardFraud());
      console.log(formatRolesReport(roles));
      report = roles;
    } else if (mode === 'ratios') {
      const roles = await benchRoles(
        { ...options, phases: new Set<Phase>(['read', 'write']) },
        await cardFraud(),
      );
      console.log(formatRolesReport(roles));
      const aggregations = await benchAggregations({
        ...options,
        phases: new Set<AggregationPhase>(['by-hand']),
        events: Math.max(...BY_HAND_SIZES),
      });
      const ratios: RatiosReport = { roles, aggregations };
      console.log(`\n${formatAggregationsReport(aggregations)}\n\n${formatRatios(ratios)}`);
      report = ratios;
    } else if (options.profile !== null) {
      mkdirSync(options.profile, { recursive: true });
      const profile = await profileReads({
        repo: await cardFraud(),
        seconds,
        events,
        seed,
        directory: options.profile,
        onProgress,
      });
      console.log(formatReadProfile(profile));
      report = profile;
    } else if (mode === 'overload') {
      const overload = await runOverloadBench({ repo: await cardFraud(), seconds, events, seed, onProgress });
      console.log(formatOverloadReport(overload));
      report = overload;
    } else if (mode === 'training-sets') {
      buildCheckout({ always: true });
      const { rounds } = options;
      const trainingSets = await runTrainingSetsBench({ events, seed, rounds, generated: false, onProgress });
      console.log(formatTrainingSets(trainingSets));
      report = trainingSets;
    } else {
      const embedded = await runBench({ repo: await cardFraud(), seconds, events, seed, onProgress });
      console.log(formatReport(embedded));
      report = embedded;
    }
    if (out !== undefined) await writeFile(out, `${JSON.stringify(report, null, 2)}\n`);
    return true;
  },
});
