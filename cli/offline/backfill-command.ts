/** `millrace backfill`: its options. `backfill.ts` does the work. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { MEMORY_DEFAULT_BYTES } from '../../offline/memory-limits.ts';
import type { Config } from '../settings.ts';
import { parseMemory } from './training-set-command.ts';

/** `25%`: a share of the time, 0 < share ≤ 1. */
export function parseLoad(text: string): number {
  const percent = Number(/^(\d{1,3}(?:\.\d+)?)%$/.exec(text)?.[1] ?? Number.NaN);
  if (!(percent >= 1 && percent <= 100))
    throw new InvalidArgumentError('It must be a share such as 25%, 1% to 100%.');
  return percent / 100;
}

function oneHistory(text: string, earlier: string | undefined): string {
  if (earlier !== undefined)
    throw new InvalidArgumentError('It is given twice: put the files into one folder, and name that.');
  return text;
}

/** @param configOf turns the options of settings into a configuration */
export function addBackfillCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  withSettings(program.command('backfill'))
    .description(
      'fill a view from a history and then the log, beside the state that is served until then; again: go on with it. Over --kafka and --redis in this process, else with the engine at --url. Give it up with: millrace rebuild --view NAME --abort',
    )
    .requiredOption('--view <name>', 'the view')
    .addOption(
      new Option(
        '--history <path>',
        "events of the view's source: an archive's folder, or Parquet, CSV, NDJSON and Arrow files, a folder or a pattern",
      )
        .argParser(oneHistory)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--load <share>', 'of the time that a write may be under way; the rest is for whoever reads')
        .argParser(parseLoad)
        .default(0.25, '25%'),
    )
    .addOption(
      new Option('--memory <size>', 'two thirds of it are for sorting; what does not fit goes to disk')
        .argParser(parseMemory)
        .default(MEMORY_DEFAULT_BYTES, '2GiB'),
    )
    .option('--accept-gap', 'also where events are in neither the history nor the log', false)
    .action(async (options) => {
      const config = configOf(options);
      const { backfill } = await import('./backfill.ts');
      process.exitCode = await backfill(config, {
        view: options.view,
        history: options.history,
        load: options.load,
        memoryBytes: options.memory,
        acceptGap: options.acceptGap,
      });
    });
}
