/** `millrace dlq`: its actions and options. `dlq.ts` does the work. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEAD_LETTER_REASONS } from '../../ingest/dead-letter.ts';
import { parseTimeMs, wholeNumber } from '../parse-options.ts';
import type { Config } from '../settings.ts';

/** Which record of which source. */
export interface NamedOrigin {
  readonly source: string;
  readonly partition: number;
  readonly offset: number;
}

/** SOURCE/PARTITION/OFFSET, as `dlq list` prints it. */
export function parseOrigin(text: string): NamedOrigin {
  const match = /^([A-Za-z_]\w{0,63})\/(\d{1,4})\/(\d{1,16})$/.exec(text);
  if (match === null) {
    throw new InvalidArgumentError('It must be SOURCE/PARTITION/OFFSET, as `millrace dlq list` prints it.');
  }
  return { source: match[1]!, partition: Number(match[2]), offset: Number(match[3]) };
}

/** Adds `dlq` and its actions. `configOf` turns the options of settings into a configuration. */
export function addDlqCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  const dlq = program
    .command('dlq')
    .description(
      'dead letters, events that could not be used: of the topics with --kafka, else of the running engine at --url',
    );
  const filtered = (command: Command): Command =>
    command
      .option('--source <name>', 'this source only')
      .addOption(
        new Option('--reason <reason>', 'this reason only').choices(
          DEAD_LETTER_REASONS.map(({ reason }) => reason),
        ),
      )
      .option('--view <name>', 'only what this view could not use')
      .option('--since <time>', 'only letters written at or after this time, ISO 8601 or ms', parseTimeMs);
  const filterOf = (options: Record<string, unknown>) => ({
    source: (options.source as string | undefined) ?? null,
    filter: {
      ...(options.reason === undefined ? {} : { reason: options.reason as never }),
      ...(options.view === undefined ? {} : { view: options.view as string }),
      ...(options.since === undefined ? {} : { sinceMs: options.since as number }),
    },
  });

  filtered(withSettings(dlq.command('list')))
    .description('letters that were not replayed, and how many of each reason')
    .option('--limit <n>', 'letters of a source that are printed; all are counted', wholeNumber(10_000), 100)
    .option('--json', 'print JSON', false)
    .action(async (options) => {
      const { dlqList } = await import('./dlq.ts');
      const { limit, json } = options;
      await dlqList(configOf(options), { ...filterOf(options), limit, json });
    });

  withSettings(dlq.command('show').argument('<origin>', 'SOURCE/PARTITION/OFFSET', parseOrigin))
    .description('what is known of one record')
    .option('--value', 'print the record as well, as text: it may be personal data', false)
    .option('--json', 'print JSON; the record in base64', false)
    .action(async (origin: NamedOrigin, options) => {
      const { dlqShow } = await import('./dlq.ts');
      await dlqShow(configOf(options), { origin, value: options.value, json: options.json });
    });

  filtered(withSettings(dlq.command('replay')))
    .description(
      'append them again, when what was wrong with them has been mended; each counts once, however often it is replayed',
    )
    .option('--dry-run', 'only say how many there are', false)
    .action(async (options) => {
      const { dlqReplay } = await import('./dlq.ts');
      process.exitCode = await dlqReplay(configOf(options), { ...filterOf(options), dryRun: options.dryRun });
    });
}
