/** `millrace training-set`: its options. `training-set.ts` does the work. */
import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { MEMORY_DEFAULT_BYTES, MEMORY_MIN_BYTES } from '../../offline/memory-limits.ts';
import { formatByteSize, parseByteSize } from '../byte-size.ts';
import { wholeNumber } from '../parse-options.ts';
import type { Config } from '../settings.ts';
import { addDecisionOptions, decisionOptionsOf } from './decision-options.ts';

/** `PATH`, or `SOURCE=PATH` once for each source. */
export function collectHistory(
  text: string,
  earlier: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  const match = /^([A-Za-z_][A-Za-z0-9_]{0,63})=(.*)$/.exec(text);
  const [source, path] = match === null ? ['', text] : [match[1]!, match[2]!];
  if (path === '') throw new InvalidArgumentError('It must be PATH or SOURCE=PATH.');
  if (earlier.has(source)) {
    throw new InvalidArgumentError(
      source === '' ? 'It is given twice: name the sources, SOURCE=PATH.' : `${source} is given twice.`,
    );
  }
  if (earlier.has('') || (source === '' && earlier.size > 0))
    throw new InvalidArgumentError('Where there are several, each must be SOURCE=PATH.');
  return new Map([...earlier, [source, path]]);
}

export function parseMemory(text: string): number {
  const bytes = parseByteSize(text);
  if (bytes === null || bytes < MEMORY_MIN_BYTES)
    throw new InvalidArgumentError(
      `It must be a size such as 2GB or 512MiB, ${formatByteSize(MEMORY_MIN_BYTES)} at least.`,
    );
  return bytes;
}

/** @param configOf turns the options of settings into a configuration */
export function addTrainingSetCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  const command = withSettings(program.command('training-set'))
    .description(
      'the features of a service for each row of a spine, as of its time, from a history of events: Parquet, CSV, NDJSON and Arrow files in and out; also from the topics (--history kafka) or the embedded log',
    )
    .requiredOption('--service <name>', 'the feature service')
    .option(
      '--spine <path>',
      'rows with entity keys and a time; request data, event ids and labels as further columns',
    )
    .addOption(
      new Option(
        '--history <path>',
        "the source's events: a file, a folder or a pattern, or kafka, or log (the embedded one); SOURCE=PATH once for each where there are several",
      ).argParser(collectHistory),
    )
    .requiredOption(
      '--out <file>',
      'what to write: .parquet, .arrow, .csv or .ndjson (the last two also .gz)',
    )
    .option('--time <column>', "the spine's time (default: timestamp, or the source's event time)")
    .option(
      '--event-id <column>',
      'id of the event a row is about (default: the name it has in the source, if it is there)',
    )
    .option('--no-event-id', 'rows are about no event: all events of their millisecond count')
    .option('--event-source <name>', 'source of these events, where the service reads several')
    .option('--prefix <text>', 'before the names of features', '')
    .addOption(
      new Option(
        '--memory <size>',
        'two thirds of it are for sorting and joining; what does not fit goes to disk',
      )
        .argParser(parseMemory)
        .default(MEMORY_DEFAULT_BYTES, '2GiB'),
    )
    .option(
      '--threads <n>',
      'threads that evaluate, the main one among them',
      wholeNumber(256),
      availableParallelism(),
    )
    .option(
      '--work <dir>',
      'where it is made; the same command goes on with what is there (default: OUT.work)',
    );
  addDecisionOptions(command).action(async (options) => {
    const config = configOf(options);
    const { makeTrainingSet } = await import('./training-set.ts');
    await makeTrainingSet(config, {
      service: options.service,
      rows: decisionOptionsOf(options) ?? { spine: options.spine },
      history: options.history ?? new Map(),
      out: options.out,
      time: options.time,
      // Commander has `true` where neither is given.
      eventId: options.eventId === true ? undefined : options.eventId === false ? null : options.eventId,
      eventSource: options.eventSource,
      prefix: options.prefix,
      memoryBytes: options.memory,
      threads: options.threads,
      work: options.work,
    });
  });
}
