/** The simulator from the command line, for as many seeds or as long as there is time for: `npm run sim -- --help`. */
import { availableParallelism } from 'node:os';
import { formatCount, formatDurationShort } from '../cli/replay/progress-display.ts';
import { integerOption, numberOption, runDevCommand, UsageError } from '../scripts/dev-command.ts';
import { replayCommand, type SeedReport, SeedTotals } from './check-seed.ts';
import { DISTURBANCES, type Disturbance } from './faults.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';
import { checkSeeds } from './seed-pool.ts';
import { simulate } from './world.ts';

const HELP = `npm run sim -- [options]

Runs of the storage protocol under faults, each from one seed and each twice. The exit code is 1 when one failed; those
that did are listed at the end, with the command that replays them.

  --seeds N        how many (default 1000, or without end with --minutes)
  --minutes M      no new seed after this time
  --from S         the first seed; the others follow it (default 1)
  --workers N      processes (default: one per core)
  --every-step     of each seed a short run without faults, then the same with one fault at step 1, 2, 3 and so on:
                   ${DISTURBANCES.join(', ')}; some thousand runs a seed
  --mutation NAME  with a mistake planted, see below
  --help           this text

Ctrl-C ends the run with its summary.

One run again:   npm run sim -- --seed N [--mutation NAME] [--disturb FAULT --step K]
All mutations:   npm run mutations

Mutations:
${Object.entries(MUTATIONS)
  .map(([name, meaning]) => `  ${name.padEnd(22)}${meaning}`)
  .join('\n')}`;

const PROGRESS_EVERY_MS = 1_000;
/** Where nobody watches, lines of a log. */
const PROGRESS_LINE_EVERY_MS = 30_000;
const FAILURES_MAX = 20;

interface Options {
  readonly from: number;
  readonly seeds: number;
  readonly forMs: number;
  readonly workers: number;
  readonly everyStep: boolean;
  readonly mutation: Mutation | undefined;
}

async function runMany({ from, seeds, forMs, workers, everyStep, mutation }: Options): Promise<boolean> {
  const totals = new SeedTotals();
  const startedMs = Date.now();
  const { isTTY } = process.stderr;
  let seed = from;
  let stopped = false;
  let progressMs = startedMs;
  process.once('SIGINT', () => {
    console.error('\nstopping when the seeds under way are done');
    stopped = true;
  });
  const elapsedMs = (): number => Date.now() - startedMs;
  const progress = (): void => {
    const nowMs = Date.now();
    if (nowMs - progressMs < (isTTY ? PROGRESS_EVERY_MS : PROGRESS_LINE_EVERY_MS)) return;
    progressMs = nowMs;
    const bySeeds = (elapsedMs() / totals.seeds) * (seeds - totals.seeds);
    const left = Math.max(0, Math.min(bySeeds, forMs - elapsedMs()));
    const line =
      `${formatCount(totals.seeds)}${Number.isFinite(seeds) ? ` of ${formatCount(seeds)}` : ''} seeds, ` +
      `${((totals.seeds / elapsedMs()) * 1000).toFixed(1)}/s, ${totals.failures.length} failed, ` +
      `ETA ${formatDurationShort(left)}`;
    process.stderr.write(isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  };
  await checkSeeds({
    workers: Math.min(workers, seeds),
    next() {
      const enough = seed >= from + seeds || totals.failures.length >= FAILURES_MAX;
      if (stopped || enough || elapsedMs() >= forMs) return null;
      return { seed: seed++, mutation, everyStep: everyStep ? 'all' : undefined };
    },
    report(report: SeedReport) {
      totals.add(report);
      if (report.failure !== null) console.error(`${isTTY ? '\r\x1b[K' : ''}${report.failure}`);
      progress();
    },
  });
  if (isTTY) process.stderr.write('\r\x1b[K');
  console.log(
    `${totals.seeds} seeds from ${from}, ${totals.runs} runs${everyStep ? '' : ', each twice'}, ` +
      `${totals.events} events, ${totals.steps} steps, ${totals.comparisons} values compared, ` +
      `${totals.failures.length} failures, ${formatDurationShort(elapsedMs())}`,
  );
  console.log('Faults injected:');
  for (const line of totals.faultLines()) console.log(line);
  console.log('Answers of readers meanwhile:');
  for (const line of totals.answerLines()) console.log(line);
  if (totals.failures.length > 0) console.log(`\nFailed:\n${totals.failures.join('\n')}`);
  // Without time for a single seed nothing was shown.
  return totals.seeds > 0 && totals.failures.length === 0;
}

async function runOne(options: {
  seed: number;
  mutation: Mutation | undefined;
  disturbance: Disturbance | undefined;
}): Promise<boolean> {
  const { failure, steps, events, comparisons, faults, answers, stateHash } = await simulate(options);
  console.log(`${replayCommand(options)}: ${failure ?? 'all was right'}`);
  console.log(`${steps} steps, ${events} events, ${comparisons} values compared, state ${stateHash}`);
  for (const [name, times] of [...[...faults].sort(), ...[...answers].sort()]) {
    console.log(`  ${String(times).padStart(9)}  ${name}`);
  }
  return failure === null;
}

function mutationOf(name: string | undefined): Mutation | undefined {
  if (name === undefined || Object.hasOwn(MUTATIONS, name)) return name as Mutation | undefined;
  throw new UsageError(`no mutation is called ${name}`);
}

function disturbanceOf(fault: string | undefined, step: string | undefined): Disturbance | undefined {
  if ((fault === undefined) !== (step === undefined))
    throw new UsageError('--disturb and --step go together');
  if (fault === undefined || step === undefined) return undefined;
  const known = DISTURBANCES.find((disturbance) => disturbance === fault);
  if (known === undefined) throw new UsageError(`--disturb is one of ${DISTURBANCES.join(', ')}`);
  return { fault: known, step: integerOption('step', step, { min: 1 }) };
}

await runDevCommand({
  name: 'npm run sim',
  help: HELP,
  options: {
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    from: { type: 'string', default: '1' },
    workers: { type: 'string', default: String(availableParallelism()) },
    'every-step': { type: 'boolean', default: false },
    seed: { type: 'string' },
    mutation: { type: 'string' },
    disturb: { type: 'string' },
    step: { type: 'string' },
  },
  run: async (values) => {
    const mutation = mutationOf(values.mutation);
    const disturbance = disturbanceOf(values.disturb, values.step);
    if (values.seed !== undefined) {
      return runOne({ seed: integerOption('seed', values.seed, { min: 0 }), mutation, disturbance });
    }
    if (disturbance !== undefined) throw new UsageError('--disturb needs --seed');
    const { seeds, minutes } = values;
    const seedsMax = minutes === undefined ? 1_000 : Number.POSITIVE_INFINITY;
    return runMany({
      from: integerOption('from', values.from, { min: 0 }),
      seeds: seeds === undefined ? seedsMax : integerOption('seeds', seeds, { min: 1 }),
      forMs:
        minutes === undefined
          ? Number.POSITIVE_INFINITY
          : numberOption('minutes', minutes, { min: 0 }) * 60_000,
      workers: integerOption('workers', values.workers, { min: 1 }),
      everyStep: values['every-step'],
      mutation,
    });
  },
});
