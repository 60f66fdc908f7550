/** `millrace backfill`: a view filled from a history and then the log, beside the state that is served meanwhile. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { archivePositions } from '../../archive/archive-positions.ts';
import { backfillView } from '../../distributed/backfill.ts';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import { LogReplacedError } from '../../ingest/partition-stopped.ts';
import { BackfillHistory } from '../../offline/backfill-history.ts';
import type { FillProgress } from '../../offline/fill-from-history.ts';
import { InputError } from '../../offline/input-error.ts';
import { tableFiles } from '../../offline/table-files.ts';
import { fileIdentity } from '../../offline/work-directory.ts';
import type { HistoryPosition } from '../../roles/backfill.ts';
import { LogTooShortError } from '../../roles/log-reach.ts';
import { reasonOf } from '../../roles/reason-of.ts';
import { OtherRebuildError, type RebuildLook } from '../../roles/view-rebuild.ts';
import { CliError } from '../cli-error.ts';
import { loadFeatureRepo } from '../load-features.ts';
import { viewNamed } from '../rebuild.ts';
import { describeDeadLetters } from '../rebuild-display.ts';
import { formatCount } from '../replay/progress-display.ts';
import { backendSettings, explain } from '../run-roles.ts';
import type { Config } from '../settings.ts';
import { shutdownOnSignals } from '../shutdown.ts';
import { BackfillDisplay } from './backfill-display.ts';
import { type BackfillFill, backfillRemotely } from './backfill-remote.ts';

export interface BackfillCommand {
  /** Name of the view. */
  readonly view: string;
  readonly history: string;
  /** 0 < load ≤ 1: see `fillFromHistory`. */
  readonly load: number;
  readonly memoryBytes: number;
  readonly acceptGap: boolean;
}

/** Resolves with the exit code. @throws CliError where what was given cannot be used */
export async function backfill(config: Config, command: BackfillCommand): Promise<number> {
  const { load, acceptGap, memoryBytes } = command;
  const repo = await loadFeatureRepo(config.features);
  const view = viewNamed(repo, command.view, config);
  const shutdown = shutdownOnSignals(() => {});
  const display = new BackfillDisplay(process.stderr, () => performance.now());
  const seen: { last: FillProgress | null; deadLetters: number } = { last: null, deadLetters: 0 };
  try {
    // Before the files are listed: what was committed is then among them.
    const archive = archiveOf(command.history, view);
    const archived = archive === null ? null : await archivedUpTo(archive, view);
    const identity = archive === null ? await identityOf(command.history) : '';
    const path = archive === null ? command.history : folderIn(archive, view);
    const state = await BackfillHistory.use(
      { view, path, memoryBytes, signal: shutdown.signal },
      async (history) => {
        const positions = archived;
        if (!history.hasFactIds) {
          throw new CliError(
            `rows of ${command.history} do not have the ids that facts get when they are loaded, and would count once more: give what ` +
              `millrace load keeps, STATE/${view.source.name}/history`,
          );
        }
        if (positions === null && view.source.eventId === null) {
          throw new CliError(
            `events of the source ${view.source.name} have no ids, and those of ${command.history} do not say which records of ` +
              'the log they are: what is in both would count twice. Give an archive (--archive)',
          );
        }
        const fill: BackfillFill = async ({ cut, nowMs, ...sink }, signal) => {
          const onProgress = (progress: FillProgress): void => {
            if (seen.last === null) {
              if (progress.ahead > 0)
                display.note(
                  `${formatCount(progress.ahead)} events lie too far in the future and do not count`,
                );
              for (const [column, count] of progress.broken)
                display.note(
                  `${formatCount(count)} events do not count: '${column}' is missing or not what the source declares`,
                );
            }
            if (seen.last === null && progress.totalEvents === 0)
              display.note(
                'No event of the history counts: all are older than the windows reach, or do not count.',
              );
            seen.last = progress;
            display.fill(progress);
          };
          await history.fill({ sink, cut: positions === null ? null : cut, nowMs, load, onProgress }, signal);
        };
        const onLook = (look: RebuildLook): void => display.look(look);
        const onTrouble = (error: unknown): void => display.note(`It is tried again: ${reasonOf(error)}`);
        const onBegun = (resumed: boolean): void =>
          display.note(
            resumed ? `Going on with the backfill of view ${view.name}.` : `Filling view ${view.name}.`,
          );
        const watching = { positions, history: identity, acceptGap, fill, onLook, onTrouble, onBegun };
        if (config.kafka === null && config.redis === null) {
          return backfillRemotely({ url: config.url, view, ...watching }, shutdown.signal);
        }
        return backfillView(
          {
            ...backendSettings(config),
            ...{ repo, view, createTopics: null, ...watching },
            onDeadLetters: (records) => {
              seen.deadLetters += records;
            },
          },
          shutdown.signal,
        );
      },
    );
    display.stop();
    if (state === 'switched') {
      const { last, deadLetters } = seen;
      const made =
        last === null
          ? ''
          : ` ${formatCount(last.events)} events of the history made ${formatCount(last.states)} states` +
            `${last.written === last.states ? '' : `, of which ${formatCount(last.states - last.written)} were there already`}.` +
            (last.refused === 0
              ? ''
              : ` ${formatCount(last.refused)} do not count: the filter or a projection failed.`);
      process.stdout.write(
        `View ${view.name} is read from its new state.${made}${describeDeadLetters(deadLetters)}\n`,
      );
      return 0;
    }
    if (state === 'given_up') {
      throw new CliError(
        `the backfill of view ${view.name} was given up by somebody else, or the store was emptied`,
      );
    }
    process.stdout.write(
      'Interrupted; the same command goes on from here, millrace rebuild --abort gives it up.\n',
    );
    return shutdown.signal.reason === 'SIGINT' ? 130 : 143;
  } catch (error) {
    if (error instanceof LogTooShortError) {
      throw new CliError(`${error.message} (--accept-gap fills it all the same)`, { cause: error });
    }
    const isTold = [InputError, LogReplacedError, OtherRebuildError].some((kind) => error instanceof kind);
    if (isTold) throw new CliError((error as Error).message, { cause: error });
    throw explain(error) ?? error;
  } finally {
    display.stop();
    shutdown.dispose();
  }
}

/** An archive says how far it has come, also where the last records could not be used; null: it is none. */
async function archivedUpTo(path: string, view: CompiledView): Promise<HistoryPosition[] | null> {
  const found = await archivePositions(path, view.source.name);
  if (found.size === 0) return null;
  return dense(
    new Map(
      [...found].map(([partition, { toOffset, logIdentity, gaps }]) => [
        partition,
        { nextOffset: toOffset, logIdentity, gaps },
      ]),
    ),
  );
}

function dense(positions: ReadonlyMap<number, HistoryPosition>): HistoryPosition[] {
  const nothing: HistoryPosition = { nextOffset: 0, logIdentity: null, gaps: [] };
  const count = Math.max(-1, ...positions.keys()) + 1;
  return Array.from({ length: count }, (_, partition) => positions.get(partition) ?? nothing);
}

/** Of files: the same as long as nobody changes them. */
async function identityOf(path: string): Promise<string> {
  const { files } = await tableFiles(path);
  const identities = await Promise.all(files.map(fileIdentity));
  return createHash('sha256').update(JSON.stringify(identities)).digest('hex').slice(0, 32);
}

const folderIn = (archive: string, view: CompiledView): string => join(archive, `source=${view.source.name}`);

/** The folder with `source=NAME` in it, where the path is that or the latter; null: it is neither. */
function archiveOf(path: string, view: CompiledView): string | null {
  const isThere = (dir: string): boolean => statSync(dir, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isThere(path) && isThere(folderIn(path, view))) return path;
  const above = dirname(resolve(path));
  return resolve(path) === folderIn(above, view) && isThere(path) ? above : null;
}
