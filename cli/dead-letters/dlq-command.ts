/** `millrace dlq`: its actions and options. `dlq.ts` does the work. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEAD_LETTER_REASONS } from '../../ingest/dead-letter.ts';
import { CliError } from '../cli-error.ts';
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

/** As `dlq list` prints them. */
const ORIGINS = 'SOURCE/PARTITION/OFFSET, one or several';
/** As many as a request to a running engine takes. */
const ORIGINS_MAX = 500;

/** For an argument that is given any number of times. */
function collectOrigin(text: string, before: readonly NamedOrigin[] = []): NamedOrigin[] {
  if (before.length === ORIGINS_MAX) throw new InvalidArgumentError(`At most ${ORIGINS_MAX} at once.`);
  return [...before, parseOrigin(text)];
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
      'dead letters, events that could not be used: of the topics with --kafka, else of the running engine at --url. SOURCE/PARTITION/OFFSET, as list prints it, names the record that a letter is of',
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
    .description('letters that are open, neither replayed nor discarded, and how many of each reason')
    .option('--limit <n>', 'letters of a source that are printed; all are counted', wholeNumber(10_000), 100)
    .option('--json', 'print JSON', false)
    .action(async (options) => {
      const { dlqList } = await import('./dlq.ts');
      const { limit, json } = options;
      await dlqList(configOf(options), { ...filterOf(options), limit, json });
    });

  withSettings(dlq.command('show').argument('<origin>', 'SOURCE/PARTITION/OFFSET', parseOrigin))
    .description('what is known of one record: why it could not be used, and what became of its letters')
    .option('--value', 'print the record as well, as text: it may be personal data', false)
    .option('--json', 'print JSON; the record in base64', false)
    .action(async (origin: NamedOrigin, options) => {
      const { dlqShow } = await import('./dlq.ts');
      await dlqShow(configOf(options), { origin, value: options.value, json: options.json });
    });

  filtered(withSettings(dlq.command('replay').argument('[origins...]', ORIGINS, collectOrigin)))
    .description(
      'append records again when what was wrong with them has been mended: of all letters that are open, of those that the options choose, or those named. Each counts once, however often it is replayed',
    )
    .option('--dry-run', 'only say how many there are', false)
    .action(async (origins: NamedOrigin[] | undefined, options) => {
      if ((origins ?? []).length > 0 && options.source !== undefined) {
        throw new CliError('origins name their source: leave out --source');
      }
      const { dlqReplay } = await import('./dlq.ts');
      const chosen = { ...filterOf(options), origins: origins ?? [], dryRun: options.dryRun };
      process.exitCode = await dlqReplay(configOf(options), chosen);
    });

  withSettings(dlq.command('discard').argument('<origins...>', ORIGINS, collectOrigin))
    .description(
      'take letters off the list that nobody will be able to use: they are listed and replayed no more, and kept as long as others',
    )
    .action(async (origins: NamedOrigin[], options) => {
      const { dlqDiscard } = await import('./dlq.ts');
      await dlqDiscard(configOf(options), { origins });
    });
}
