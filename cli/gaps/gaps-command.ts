/** `millrace gaps`: its actions and options. `gaps.ts` does the work. */
import type { Command } from 'commander';
import type { Config } from '../settings.ts';

/** Adds `gaps` and its actions. `configOf` turns the options of settings into a configuration. */
export function addGapsCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  const gaps = program
    .command('gaps')
    .description(
      'records that were gone from a log before they were applied, as the serving process at --url knows them',
    );

  withSettings(gaps.command('list', { isDefault: true }))
    .description(
      'what each partition lacks, and which views have a window that may still ask for it; also without an action',
    )
    .option('--json', 'print JSON', false)
    .action(async (options) => {
      const { gapsList } = await import('./gaps.ts');
      await gapsList(configOf(options), { json: options.json });
    });

  withSettings(gaps.command('acknowledge').argument('<source>', 'name of the source'))
    .description(
      'forget the gaps of a source in all processes: its records stay missing, and values no longer say so',
    )
    .action(async (source: string, options) => {
      const { gapsAcknowledge } = await import('./gaps.ts');
      await gapsAcknowledge(configOf(options), source);
    });
}
