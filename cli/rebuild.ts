/** `millrace rebuild`: a view's state made anew from the log, beside the one that is served meanwhile. */
import { abortViewRebuild, type RebuildOptions, rebuildView } from '../distributed/rebuild.ts';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import { LogTooShortError } from '../roles/log-reach.ts';
import { reasonOf } from '../roles/reason-of.ts';
import { CliError } from './cli-error.ts';
import { loadFeatureRepo } from './load-features.ts';
import { ACCEPT_GAP_HINT, beingBackfilled, type RebuildCommand } from './rebuild-command.ts';
import { describeDeadLetters, RebuildDisplay } from './rebuild-display.ts';
import { rebuildRemotely } from './rebuild-remote.ts';
import { formatDurationShort } from './replay/progress-display.ts';
import { backendSettings, explain } from './run-roles.ts';
import type { Config } from './settings.ts';
import { shutdownOnSignals } from './shutdown.ts';

/** Resolves with the exit code. */
export async function rebuild(config: Config, command: RebuildCommand): Promise<number> {
  if (config.kafka === null && config.redis === null) return rebuildRemotely(config, command);
  const settings = backendSettings(config);
  const repo = await loadFeatureRepo(config.features);
  const view = viewNamed(repo, command.view, config);
  const options: RebuildOptions = {
    ...settings,
    // Whoever ingests has made the topics.
    createTopics: null,
    repo,
    view,
    graceMs: command.graceMs,
    acceptGap: command.acceptGap,
  };
  try {
    return command.abort ? await abort(options) : await run(options, command);
  } catch (error) {
    if (error instanceof LogTooShortError) {
      throw new CliError(`${error.message} ${ACCEPT_GAP_HINT}`, { cause: error });
    }
    if (error instanceof LogReplacedError) throw new CliError(error.message, { cause: error });
    throw explain(error) ?? error;
  }
}

async function abort(options: RebuildOptions): Promise<number> {
  const name = options.view.name;
  if (!(await abortViewRebuild(options))) throw new CliError(`no rebuild of view ${name} is under way`);
  process.stdout.write(`The rebuild of view ${name} was given up; compaction removes what it had filled.\n`);
  return 0;
}

async function run(options: RebuildOptions, { graceMs }: RebuildCommand): Promise<number> {
  const name = options.view.name;
  const display = new RebuildDisplay(process.stderr, () => performance.now());
  const shutdown = shutdownOnSignals(() => {});
  let state: Awaited<ReturnType<typeof rebuildView>>;
  let deadLetters = 0;
  try {
    state = await rebuildView(
      {
        ...options,
        onBegun: (resumed) =>
          display.note(resumed ? `Going on with the rebuild of view ${name}.` : `Rebuilding view ${name}.`),
        onLook: (look) => display.look(look),
        onDeadLetters: (records) => {
          deadLetters += records;
        },
        onTrouble: (error) => display.note(`It is tried again: ${reasonOf(error)}`),
      },
      shutdown.signal,
    );
  } finally {
    display.stop();
    shutdown.dispose();
  }
  if (state === 'switched') {
    process.stdout.write(
      `View ${name} is read from its new state: ${display.summary()}.${describeDeadLetters(deadLetters)} ` +
        `The former one is kept up to date for ${formatDurationShort(graceMs)} more.\n`,
    );
    return 0;
  }
  if (state === 'given_up') {
    throw new CliError(`the rebuild of view ${name} was aborted by somebody else, or the store was emptied`);
  }
  if (state === 'backfilling' && !shutdown.signal.aborted) throw new CliError(beingBackfilled(name));
  process.stdout.write(`Interrupted; the same command goes on from here, --abort gives it up.\n`);
  return shutdown.signal.reason === 'SIGINT' ? 130 : 143;
}

/** @throws CliError */
export function viewNamed(repo: CompiledRepo, name: string, config: Config): CompiledView {
  const view = repo.views.get(name);
  if (view !== undefined) return view;
  const names = [...repo.views.keys()].join(', ');
  throw new CliError(`${config.features} has no view ${name}; its views are ${names} (--features, --view)`);
}
