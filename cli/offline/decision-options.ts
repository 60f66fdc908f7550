/** Options of `millrace training-set` where its rows are logged decisions instead of a spine. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DurationError, parseDurationMs } from '../../engine/windows/duration.ts';
import { CliError } from '../cli-error.ts';
import { parseTimeMs } from '../parse-options.ts';

/** What is joined to decisions, and where they are; as the library takes it. */
export interface DecisionOptions {
  readonly decisions: string;
  readonly labels?: string;
  readonly labelId?: string;
  readonly labelTime?: string;
  readonly labelColumns?: readonly string[];
  readonly labelWindowMs?: number;
  readonly untilMs?: number;
  /** Whether features are the values that were answered. */
  readonly logged: boolean;
}

function parseWindowMs(text: string): number {
  try {
    return parseDurationMs(text);
  } catch (error) {
    if (!(error instanceof DurationError)) throw error;
    throw new InvalidArgumentError('It must be a duration, such as 90d or 36h.');
  }
}

function parseNames(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('')) throw new InvalidArgumentError('It must be names of columns, separated by commas.');
  return names;
}

export function addDecisionOptions(command: Command): Command {
  return command
    .option(
      '--decisions <path>',
      'instead of --spine: a row for each event decided, by a decision log (--decision-log): its folder, a file or a pattern',
    )
    .option('--labels <path>', 'labels of these events, joined by their ids: Parquet, CSV, NDJSON or Arrow')
    .option('--label-id <column>', 'of labels: the event id (default: its name in the source, or event_id)')
    .option('--label-time <column>', 'of labels: when it was known; the latest counts (default: label_time)')
    .addOption(
      new Option('--label-columns <names>', 'of labels: columns that are taken, a,b').argParser(parseNames),
    )
    .addOption(
      new Option(
        '--label-window <duration>',
        'labels count up to so long after their decision; younger decisions without one are left out',
      ).argParser(parseWindowMs),
    )
    .addOption(
      new Option(
        '--until <time>',
        'labels as they were known then (default: the time of the newest label)',
      ).argParser(parseTimeMs),
    )
    .option('--logged', 'features are the values that were answered; no --history', false);
}

const LABEL_FLAGS = {
  labelId: '--label-id',
  labelTime: '--label-time',
  labelColumns: '--label-columns',
  labelWindow: '--label-window',
  until: '--until',
} as const;

/**
 * What was given, of what commander has; null: rows are those of a spine.
 * @throws CliError where options do not go together
 */
export function decisionOptionsOf(options: Record<string, unknown>): DecisionOptions | null {
  const given = (name: string): boolean => options[name] !== undefined;
  const { decisions, spine, logged } = options as { decisions?: string; spine?: string; logged: boolean };
  const refuse = (message: string): never => {
    throw new CliError(`${message} (--help shows what there is)`);
  };
  if (decisions === undefined) {
    const needs = given('labels') ? '--labels' : logged ? '--logged' : null;
    if (needs !== null) refuse(`${needs} is for logged decisions: name them, --decisions`);
    if (spine === undefined) refuse('name the rows: --spine, or logged decisions, --decisions');
  } else {
    if (spine !== undefined)
      refuse('--spine and --decisions are two ways to name the rows: give one of them');
    // Commander may have `true` where neither --event-id nor --no-event-id is given.
    const own = given('time') ? '--time' : given('eventId') && options.eventId !== true ? '--event-id' : null;
    if (own !== null) refuse(`${own} is for a spine: decisions say it themselves`);
  }
  if (!given('labels')) {
    for (const [name, flag] of Object.entries(LABEL_FLAGS))
      if (given(name)) refuse(`${flag} is for labels: name them, --labels`);
  }
  if (logged && given('history')) refuse('--logged takes the values that were answered: leave out --history');
  if (!logged && !given('history'))
    refuse(
      `name the events: --history${decisions === undefined ? '' : ', or --logged for the values that were answered'}`,
    );
  if (decisions === undefined) return null;
  const { labels, labelId, labelTime, labelColumns, labelWindow, until } = options;
  return {
    ...{ decisions, logged },
    ...(given('labels') ? { labels: labels as string } : {}),
    ...(given('labelId') ? { labelId: labelId as string } : {}),
    ...(given('labelTime') ? { labelTime: labelTime as string } : {}),
    ...(given('labelColumns') ? { labelColumns: labelColumns as readonly string[] } : {}),
    ...(given('labelWindow') ? { labelWindowMs: labelWindow as number } : {}),
    ...(given('until') ? { untilMs: until as number } : {}),
  };
}
