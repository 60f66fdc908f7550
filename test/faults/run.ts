/** Scenarios of faults from the command line: `npm run faults -- --help`. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { integerOption, runDevCommand, UsageError } from '../../scripts/dev-command.ts';
import { prepareCheckout } from '../../scripts/prepare-checkout.mjs';
import { faultTable } from './fault-table.ts';
import type { ScenarioReport } from './run-scenario.ts';
import { SCENARIOS } from './scenarios.ts';

const HELP = `npm run faults -- [options]

Two processes of each role over real Kafka and Redis, under load, killed and suspended at random, while what they depend on
fails in the ways of each scenario. Then everything must heal by itself, and every value must be the oracle's.

  --only LETTERS  scenarios, as BDF (default: all, one after the other)
  --minutes N     begin further rounds, each with the next seed, until N minutes have passed (default: one round)
  --seconds N     how long the load of one scenario lasts (default 60)
  --seed S        of the first round: events and faults (default: a random one, which is printed)
  --help          this text

${SCENARIOS.map(({ letter, file, about }) => `  ${letter}  ${file.padEnd(16)} ${about}`).join('\n')}`;

interface Run {
  readonly letter: string;
  readonly seed: number;
}

interface Options {
  readonly chosen: readonly (typeof SCENARIOS)[number][];
  readonly minutes: number;
  readonly seconds: number;
  readonly seed: number;
}

function scenariosOf(letters: string): Options['chosen'] {
  const chosen = [...letters.replaceAll(',', '').toUpperCase()].map((letter) => {
    const scenario = SCENARIOS.find((one) => one.letter === letter);
    if (scenario === undefined) throw new UsageError(`--only: there is no scenario ${letter}`);
    return scenario;
  });
  if (chosen.length === 0) throw new UsageError('--only names no scenario');
  return chosen;
}

/** @returns whether every scenario passed */
async function runRounds({ chosen, minutes, seconds, seed }: Options): Promise<boolean> {
  console.log(`seed ${seed}`);
  prepareCheckout();

  const directory = mkdtempSync(join(tmpdir(), 'millrace-faults-'));
  const reportFile = join(directory, 'report.ndjson');
  writeFileSync(reportFile, '');
  const failed: Run[] = [];
  const endMs = performance.now() + minutes * 60_000;
  try {
    let round = 0;
    do {
      for (const { letter, file } of chosen) {
        const env = { TEST_SEED: `${seed + round}`, FAULTS_SECONDS: `${seconds}`, FAULTS_REPORT: reportFile };
        if (!(await passes(file, env))) failed.push({ letter, seed: seed + round });
      }
      round++;
    } while (performance.now() < endMs);
    const reports = readFileSync(reportFile, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line): ScenarioReport => JSON.parse(line));
    console.log(`\nseeds ${seed} to ${seed + round - 1}\n${faultTable(reports)}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  for (const run of failed) {
    console.log(`FAILED: npm run faults -- --only ${run.letter} --seconds ${seconds} --seed ${run.seed}`);
  }
  return failed.length === 0;
}

/** One scenario in a vitest of its own. */
function passes(file: string, env: Readonly<Record<string, string>>): Promise<boolean> {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--project', 'end-to-end', `test/faults/${file}.test.ts`];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: 'inherit',
    // A scenario that is skipped would pass.
    env: { ...process.env, REQUIRE_SERVICES: '1', ...env },
  });
  const interrupted = (): void => {
    child.kill('SIGINT');
  };
  process.once('SIGINT', interrupted);
  return new Promise((resolve) =>
    child.once('exit', (code) => {
      process.off('SIGINT', interrupted);
      resolve(code === 0);
    }),
  );
}

await runDevCommand({
  name: 'npm run faults',
  help: HELP,
  options: {
    only: { type: 'string', default: SCENARIOS.map(({ letter }) => letter).join('') },
    minutes: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
  },
  run: ({ only, minutes, seconds, seed = String(Math.floor(Math.random() * 2 ** 31)) }) =>
    runRounds({
      chosen: scenariosOf(only),
      minutes: integerOption('minutes', minutes, { min: 0 }),
      seconds: integerOption('seconds', seconds, { min: 1 }),
      seed: integerOption('seed', seed, { min: 0 }),
    }),
});
