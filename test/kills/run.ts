/** The kill run from the command line: `npm run kills -- --help`. */
import { SingleBar } from 'cli-progress';
import { integerOption, runDevCommand } from '../../scripts/dev-command.ts';
import { prepareCheckout } from '../../scripts/prepare-checkout.mjs';
import { describeKills } from './describe-kills.ts';
import { runKills } from './kill-run.ts';

const HELP = `npm run kills -- [options]

Kills the embedded engine with SIGKILL, again and again on the same data, while it opens, ingests, compacts and closes.
Every event that was acknowledged must be there, once, and every value must be the oracle's.

  --times N   how many kills (default 1000); each takes about a second of CPU
  --seed S    what is pushed and when to kill (default: a random one, which is printed)
  --help      this text`;

/** @throws where a promise was broken */
async function kill(times: number, seed: number): Promise<void> {
  console.log(`${times} kills, seed ${seed}`);
  prepareCheckout();
  const bar = new SingleBar({
    format:
      ' {bar} {value} of {total} | {restarts} restarts without lag | {checks} checks | ETA {eta_formatted}',
    stream: process.stderr,
    hideCursor: true,
    // The default looks at the last ten kills; a check among them would make it jump.
    etaBuffer: 100,
    noTTYOutput: true,
    notTTYSchedule: 10_000,
  });
  bar.start(times, 0, { restarts: 0, checks: 0 });
  try {
    const counts = await runKills({
      times,
      seed,
      onKill: ({ kills, restarts, checks }) => bar.update(kills, { restarts, checks }),
    });
    bar.stop();
    console.log(`${describeKills(counts)}\nno event lost, none doubled, no wrong value`);
  } finally {
    bar.stop();
  }
}

await runDevCommand({
  name: 'npm run kills',
  help: HELP,
  options: { times: { type: 'string', default: '1000' }, seed: { type: 'string' } },
  run: async (values) => {
    const times = integerOption('times', values.times, { min: 1 });
    const seed = integerOption('seed', values.seed ?? String(Math.floor(Math.random() * 2 ** 31)), {
      min: 0,
    });
    try {
      await kill(times, seed);
      return true;
    } catch (error) {
      console.error(error instanceof Error ? error.message : error);
      return false;
    }
  },
});
