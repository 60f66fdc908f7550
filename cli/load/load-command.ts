/** `millrace load`: its options. `load.ts` does the work. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseMemory } from '../offline/training-set-command.ts';
import { collectName, parseEveryMs, wholeNumber } from '../parse-options.ts';
import type { Config } from '../settings.ts';

const MEMORY_DEFAULT_BYTES = 2 ** 30;
export const STATE_DEFAULT = './.millrace-load';

function stateDir(text: string): string {
  if (text === '' || text.includes('\0')) throw new InvalidArgumentError('It must be the path of a folder.');
  return text;
}

/** @param configOf turns the options of settings into a configuration */
export function addLoadCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  withSettings(program.command('load'))
    .description(
      'read the tables of batch sources and push the facts that are new or changed to a running server; on a schedule, or once',
    )
    .addOption(
      new Option('--source <name>', 'a batch source, once for each')
        .argParser(collectName)
        .default([], 'all of the feature repo'),
    )
    .addOption(
      new Option('--once', 'load each source once, then end')
        .default(false, 'as the sources say')
        .conflicts('every'),
    )
    .addOption(
      new Option(
        '--every <duration>',
        'load again and again, the first time at once; by default as each source says, and once where it says nothing',
      ).argParser(parseEveryMs),
    )
    .addOption(
      new Option(
        '--state <dir>',
        'where it is remembered what was loaded, to be kept; DIR/SOURCE/history is the history of a source for training sets',
      )
        .argParser(stateDir)
        .default(STATE_DEFAULT),
    )
    .addOption(
      new Option(
        '--again',
        'push what was ever loaded once more first, under its ids, for a server that has lost it; what it still has does not count again',
      ).default(false, 'only what is new'),
    )
    .option('--batch <n>', 'facts per request', wholeNumber(10_000), 500)
    .option('--in-flight <n>', 'requests at a time', wholeNumber(64), 4)
    .addOption(
      new Option('--memory <size>', "DuckDB's, which compares and sorts on disk what does not fit")
        .argParser(parseMemory)
        .default(MEMORY_DEFAULT_BYTES, '1GiB'),
    )
    .action(async (options) => {
      const config = configOf(options);
      const { load } = await import('./load.ts');
      process.exitCode = await load(config, {
        sources: options.source,
        once: options.once,
        everyMs: options.every ?? null,
        state: options.state,
        again: options.again,
        batch: options.batch,
        inFlight: options.inFlight,
        memoryBytes: options.memory,
      });
    });
}
