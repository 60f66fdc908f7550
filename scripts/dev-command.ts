/**
 * Commands of development, `npm run sim` and so on: what was typed is read in one way. They end with 0 when all was right,
 * with 1 when something was found or broke, and with 2 when nothing was tried: the arguments make no sense, or need what is
 * not there.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/** What was typed cannot be tried; the message says why. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

type Options = NonNullable<ParseArgsConfig['options']>;
/** What was typed, by the name of the option. */
export type OptionValues<O extends Options> = ReturnType<typeof parseArgs<{ readonly options: O }>>['values'];

export interface DevCommand<O extends Options> {
  /** As it is typed: `npm run sim`. */
  readonly name: string;
  /** What `--help` prints; that option need not be among `options`. */
  readonly help: string;
  readonly options: O;
  /** @returns whether all was right @throws UsageError before it does anything */
  run(values: OptionValues<O>): Promise<boolean>;
}

/** Runs it, and sets the exit code. */
export async function runDevCommand<const O extends Options>(
  { name, help, options, run }: DevCommand<O>,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  if (args.includes('--help')) {
    console.log(help);
    return;
  }
  try {
    process.exitCode = (await run(parsed(options, args))) ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${name} -- --help`);
    process.exitCode = 2;
  }
}

function parsed<O extends Options>(options: O, args: readonly string[]): OptionValues<O> {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** The value of an option, of [min, max]. @throws UsageError */
export function numberOption(
  name: string,
  text: string,
  { min, max = Number.MAX_VALUE }: { readonly min: number; readonly max?: number },
): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= min && value <= max) return value;
  throw new UsageError(`--${name} must be a number ${described(min, max)}, not '${text}'`);
}

/** The value of an option, a whole number of [min, max]. @throws UsageError */
export function integerOption(
  name: string,
  text: string,
  { min, max = Number.MAX_SAFE_INTEGER }: { readonly min: number; readonly max?: number },
): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} must be an integer ${described(min, max)}, not '${text}'`);
}

const described = (min: number, max: number): string =>
  max >= Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;

/** The items of a list, separated by commas; all of `known` where none is given. @throws UsageError */
export function listOption(
  name: string,
  text: string | undefined,
  known: readonly string[],
): readonly string[] {
  const items = text?.split(',') ?? known;
  const unknown = items.filter((item) => !known.includes(item));
  if (unknown.length === 0) return items;
  throw new UsageError(`--${name}: ${unknown.join(', ')} is none of ${known.join(', ')}`);
}
