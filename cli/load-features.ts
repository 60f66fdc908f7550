/**
 * A feature repo is a directory with a `features.ts`, loaded without a build step. `millrace` means this very
 * package wherever the directory lies: the definitions are made by the modules that run them, there is no second
 * copy, and nothing has to be installed beside the features.
 */
import { existsSync, realpathSync } from 'node:fs';
import { register as registerHooks } from 'node:module';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { register as registerTypeScript } from 'tsx/esm/api';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { DefinitionError } from '../engine/definitions/definition-error.ts';
import { CliError } from './cli-error.ts';

/** The public module beside this file's tree: dist/index.js when built, index.ts when run from source. */
const ownIndex = new URL(import.meta.url.endsWith('.ts') ? '../index.ts' : '../index.js', import.meta.url)
  .href;

/**
 * Runs in the loader's thread: the package's name leads to `ownIndex`, and TypeScript below the feature repo is
 * ESM whatever the nearest package.json says.
 */
const hooksSource = (directoryUrl: string): string => `
  export async function resolve(specifier, context, next) {
    if (specifier === 'millrace') return { url: ${JSON.stringify(ownIndex)}, shortCircuit: true };
    const resolved = await next(specifier, context);
    const own = resolved.url.startsWith(${JSON.stringify(directoryUrl)}) && /\\.ts(\\?|$)/.test(resolved.url);
    return own && !resolved.url.includes('/node_modules/') ? { ...resolved, format: 'module' } : resolved;
  }
`;

const prepared = new Set<string>();
let typeScriptRegistered = false;

/** From here on modules of the directory can be imported. */
function prepareDirectory(directory: string): string {
  const directoryUrl = pathToFileURL(`${realpathSync(directory)}/`).href;
  if (!typeScriptRegistered) {
    // tsconfig false: the repo's compiler options are for its editor. No namespace: one instance of each module.
    registerTypeScript({ tsconfig: false });
    typeScriptRegistered = true;
  }
  if (!prepared.has(directoryUrl)) {
    registerHooks(`data:text/javascript,${encodeURIComponent(hooksSource(directoryUrl))}`);
    prepared.add(directoryUrl);
  }
  return directoryUrl;
}

async function importFrom(directory: string, file: string): Promise<Record<string, unknown>> {
  const directoryUrl = prepareDirectory(directory);
  try {
    return (await import(`${directoryUrl}${file}`)) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof DefinitionError) throw error;
    const path = relative(process.cwd(), join(directory, file));
    throw new CliError(`${path} cannot be loaded: ${describeLoadError(error)}`, { cause: error });
  }
}

/** The message, and where in the user's file it happened: the first frame that is not ours or Node's. */
function describeLoadError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const frame = (error.stack ?? '')
    .split('\n')
    .find((line) => /^\s+at /.test(line) && !/node:|node_modules|[\\/]millrace[\\/]dist[\\/]/.test(line));
  return `${error.message}${frame === undefined ? '' : `\n  ${frame.trim()}`}`;
}

/** Whether the directory has a simulator. */
export const hasSimulator = (directory: string): boolean => existsSync(join(directory, 'simulator.ts'));

/**
 * Loads, checks and compiles a feature repo.
 * @throws CliError where it cannot be loaded or has problems, every one named
 */
export async function loadFeatureRepo(directory: string): Promise<CompiledRepo> {
  if (!existsSync(directory)) {
    throw new CliError(`the features directory ${directory} does not exist (--features)`);
  }
  if (!existsSync(join(directory, 'features.ts'))) {
    throw new CliError(`the features directory ${directory} has no features.ts (--features)`);
  }
  try {
    return compileRepo(Object.values(await importFrom(directory, 'features.ts')));
  } catch (error) {
    if (error instanceof DefinitionError) throw new CliError(error.message, { cause: error });
    throw error;
  }
}

export interface SimulatedEvent {
  readonly source: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** When it happens, ms. Never decreasing. */
  readonly atMs: number;
}

export type Simulate = (options: {
  readonly seed: number;
  readonly startMs: number;
  readonly ratePerSecond: number;
}) => Iterable<SimulatedEvent>;

/**
 * The default export of the feature repo's simulator.ts.
 * @throws CliError where there is none
 */
export async function loadSimulator(directory: string): Promise<Simulate> {
  if (!hasSimulator(directory)) {
    throw new CliError(`--simulate needs a simulator.ts in the features directory; ${directory} has none`);
  }
  const { default: simulate } = await importFrom(directory, 'simulator.ts');
  if (typeof simulate !== 'function') {
    throw new CliError(`${join(directory, 'simulator.ts')} has no default export that is a function`);
  }
  return simulate as Simulate;
}
