/** Power losses of embedded mode from the command line: `npm run power-loss -- --help`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { integerOption, runDevCommand, UsageError } from '../../scripts/dev-command.ts';
import { PowerLossRun } from './power-loss-run.ts';
import { temporaryRoot } from './temporary-root.ts';
import { compileRecorder, recorderProblem } from './write-recorder.ts';

const HELP = `npm run power-loss -- [options]

Records what the embedded engine writes and flushes under load, then makes the power fail at many moments of it. What each
leaves on the disk is opened: every acknowledged event must be there, once, and every value that of the events in the log.

  --times N        how many power losses (default 1000); the last recording may bring some more
  --seed S         what is pushed, and when the power fails (default 1)
  --at-creation N  moments tried in addition while an empty directory is filled for the first time (default 8)
  --at-restart N   moments tried in addition after a second process has begun (default 8)
  --lives N        processes one after the other before the power fails (default: one, or two in three of ten recordings)
  --help           this text`;

await runDevCommand({
  name: 'npm run power-loss',
  help: HELP,
  options: {
    times: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    'at-creation': { type: 'string', default: '8' },
    'at-restart': { type: 'string', default: '8' },
    lives: { type: 'string' },
  },
  run: async (values) => {
    const times = integerOption('times', values.times, { min: 1 });
    const seed = integerOption('seed', values.seed, { min: 0 });
    const moments = {
      momentsPerRecording: 25,
      momentsAtCreation: integerOption('at-creation', values['at-creation'], { min: 0 }),
      momentsAtRestart: integerOption('at-restart', values['at-restart'], { min: 0 }),
    };
    const lives =
      values.lives === undefined ? {} : { lives: integerOption('lives', values.lives, { min: 1 }) };
    const problem = recorderProblem();
    if (problem !== null) throw new UsageError(`power losses cannot be recorded here: ${problem}`);
    const directory = mkdtempSync(join(temporaryRoot(), 'millrace-power-loss-'));
    const run = new PowerLossRun({
      ...{ seed, directory, library: compileRecorder(directory) },
      ...moments,
      ...lives,
    });
    let losses = 0;
    try {
      while (run.totals.powerLosses < times) {
        await run.record();
        for (const loss of await run.explore()) {
          losses++;
          console.log(JSON.stringify(loss));
        }
      }
    } finally {
      await run.close();
      rmSync(directory, { recursive: true, force: true });
    }
    for (const [name, value] of Object.entries(run.totals)) {
      console.log(`${String(value).padStart(14)}  ${name}`);
    }
    console.log(`seed ${seed}: ${losses} power losses broke a promise`);
    return losses === 0;
  },
});
