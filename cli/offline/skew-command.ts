/** `millrace skew`: its options. `skew.ts` does the work. */
import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DurationError, parseDurationMs } from '../../engine/windows/duration.ts';
import {
  SKEW_LAG_DEFAULT_MS,
  SKEW_ROWS_DEFAULT,
  SKEW_SEED_DEFAULT,
  SKEW_TOLERANCE_DEFAULT,
} from '../../offline/decisions/skew-defaults.ts';
import { MEMORY_DEFAULT_BYTES } from '../../offline/memory-limits.ts';
import { wholeNumber } from '../parse-options.ts';
import type { Config } from '../settings.ts';
import { collectHistory, parseMemory } from './training-set-command.ts';

/** A number of [low, high]. */
function numberOf(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = /^\d+(\.\d+)?(e-?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    if (!(value >= low && value <= high))
      throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`);
    return value;
  };
}

const LAG_MAX_MS = 3_600_000;

function parseLagMs(text: string): number {
  if (text === '0') return 0;
  try {
    const lagMs = parseDurationMs(text);
    if (lagMs <= LAG_MAX_MS) return lagMs;
  } catch (error) {
    if (!(error instanceof DurationError)) throw error;
  }
  throw new InvalidArgumentError('It must be 0 or a duration up to 1h, such as 100ms or 2s.');
}

/** @param configOf turns the options of settings into a configuration */
export function addSkewCommand(
  program: Command,
  withSettings: (command: Command) => Command,
  configOf: (options: Record<string, unknown>) => Config,
): void {
  withSettings(program.command('skew'))
    .description(
      'compute answers of a decision log again from a history of events, and compare: how many values of each feature are equal, and the worst differences',
    )
    .requiredOption('--service <name>', 'the feature service')
    .requiredOption(
      '--decisions <path>',
      'the decision log: its folder (--decision-log), a file or a pattern',
    )
    .addOption(
      new Option(
        '--history <path>',
        "the source's events: a file, a folder or a pattern, or kafka, or log (the embedded one); SOURCE=PATH once for each where there are several",
      )
        .argParser(collectHistory)
        .makeOptionMandatory(),
    )
    .option('--rows <n>', 'answers that are looked at', wholeNumber(999_999_999), SKEW_ROWS_DEFAULT)
    .option(
      '--seed <n>',
      'which ones: the same seed takes the same',
      wholeNumber(999_999_999),
      SKEW_SEED_DEFAULT,
    )
    .option(
      '--tolerance <number>',
      'by which doubles may differ, as a share of the larger one; all else must be equal',
      numberOf(0, 1),
      SKEW_TOLERANCE_DEFAULT,
    )
    .addOption(
      new Option(
        '--lag <duration>',
        'an answer may lack events appended less than this before it, where the history says when they were',
      )
        .argParser(parseLagMs)
        .default(SKEW_LAG_DEFAULT_MS, `${SKEW_LAG_DEFAULT_MS}ms`),
    )
    .option(
      '--fail-below <rate>',
      'the exit code is 1 where the match rate of some feature is below it, or nothing could be compared; 0: never',
      numberOf(0, 1),
      1,
    )
    .option('--report <file>', 'also write it down, as JSON')
    .option(
      '--metrics <file>',
      "also write it down as metrics, for node_exporter's textfile collector (.prom)",
    )
    .addOption(
      new Option('--memory <size>', 'as for a training set')
        .argParser(parseMemory)
        .default(MEMORY_DEFAULT_BYTES, '2GiB'),
    )
    .option(
      '--threads <n>',
      'threads that evaluate, the main one among them',
      wholeNumber(256),
      availableParallelism(),
    )
    .action(async (options) => {
      const config = configOf(options);
      const { skew } = await import('./skew.ts');
      process.exitCode = await skew(config, {
        service: options.service,
        decisions: options.decisions,
        history: options.history,
        rows: options.rows,
        seed: options.seed,
        tolerance: options.tolerance,
        lagMs: options.lag,
        failBelow: options.failBelow,
        report: options.report ?? null,
        metrics: options.metrics ?? null,
        memoryBytes: options.memory,
        threads: options.threads,
      });
    });
}
