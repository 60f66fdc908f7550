/** `millrace training-set`: makes one, shows how far it is, and says what was seen on the way. */
import { decisionTrainingSetFile } from '../../offline/decisions/decision-training-set.ts';
import type { LoggedHistory } from '../../offline/history-log.ts';
import { InputError } from '../../offline/input-error.ts';
import { trainingSetFile } from '../../offline/make-training-set.ts';
import type { TrainingProgress, TrainingSummary } from '../../offline/training-set.ts';
import { CliError } from '../cli-error.ts';
import { loadFeatureRepo } from '../load-features.ts';
import { formatCount, formatDurationShort } from '../replay/progress-display.ts';
import type { Config } from '../settings.ts';
import { shutdownOnSignals } from '../shutdown.ts';
import { textTable } from '../text-table.ts';
import type { DecisionOptions } from './decision-options.ts';
import { describeDecisions } from './describe-decisions.ts';
import { explainLog, HistoryLogs } from './history-logs.ts';
import { evaluationThreadModule } from './thread-module.ts';
import { TrainingDisplay } from './training-display.ts';

export interface TrainingSetCommand {
  readonly service: string;
  readonly rows: DecisionOptions | { readonly spine: string };
  /** By source; '' alone: that of the only one. */
  readonly history: ReadonlyMap<string, string>;
  readonly out: string;
  readonly time: string | undefined;
  readonly eventId: string | null | undefined;
  readonly eventSource: string | undefined;
  readonly prefix: string;
  readonly memoryBytes: number;
  readonly threads: number;
  readonly work: string | undefined;
}

/** @throws CliError where what was given cannot be used */
export async function makeTrainingSet(config: Config, command: TrainingSetCommand): Promise<void> {
  const repo = await loadFeatureRepo(config.features);
  const startedMs = performance.now();
  const display = new TrainingDisplay(process.stderr);
  const shutdown = shutdownOnSignals((signal) => {
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    // What was read of a log is written down first.
    if (logs.isReading) return;
    display.stop();
    process.stderr.write(STOPPED);
    process.exit();
  });
  const logs = new HistoryLogs(config, process.stderr, shutdown.signal);
  const { time, eventId, eventSource, work, rows } = command;
  const history = new Map([...command.history].map(([source, path]) => [source, logs.historyOf(path)]));
  const options = {
    ...{ repo, service: command.service, out: command.out, prefix: command.prefix },
    ...{ memoryBytes: command.memoryBytes, threads: command.threads },
    ...(eventSource === undefined ? {} : { eventSource }),
    ...(work === undefined ? {} : { work }),
    threadModule: evaluationThreadModule(config.features),
    onProgress: (progress: TrainingProgress) => display.update(progress),
  };
  const events = { history: history.get('') ?? Object.fromEntries(history) };
  try {
    const lines: string[] = [];
    const elapsedMs = (): number => performance.now() - startedMs;
    if ('spine' in rows) {
      const ofSpine = {
        ...(time === undefined ? {} : { time }),
        ...(eventId === undefined ? {} : { eventId }),
      };
      const summary = await trainingSetFile({ ...options, ...events, ...ofSpine, spine: rows.spine });
      lines.push(describeTrainingSet(command.out, summary, elapsedMs()));
    } else {
      const { logged, ...ofDecisions } = rows;
      const { decisions, training } = await decisionTrainingSetFile({
        ...{ ...options, ...ofDecisions, secret: config.decisionLogSecret },
        ...(logged ? {} : events),
      });
      lines.push(
        training === null
          ? `${command.out}: ${formatCount(decisions.rows)} rows in ${formatDurationShort(elapsedMs())}, with the values that were answered`
          : describeTrainingSet(command.out, training, elapsedMs()),
        describeDecisions(decisions),
      );
    }
    display.stop();
    process.stdout.write(`${lines.join('\n')}\n`);
  } catch (error) {
    display.stop();
    if (shutdown.signal.aborted) {
      process.stderr.write(STOPPED);
      return;
    }
    if (error instanceof InputError) throw new CliError(error.message, { cause: error });
    throw (await explainLog(error)) ?? error;
  } finally {
    shutdown.dispose();
  }
}

const STOPPED = 'stopped; the same command goes on from here\n';

/** What was made of what, and what did not count. */
export function describeTrainingSet(
  out: string,
  {
    rows,
    resumed,
    histories,
    logged,
    views,
    withoutKey,
    errors,
  }: TrainingSummary & { readonly resumed: boolean },
  elapsedMs: number,
): string {
  const notes: string[] = [];
  for (const [source, log] of logged) notes.push(...logNotes(source, log, histories.get(source)!.events));
  for (const [source, { events, refused }] of histories) {
    for (const [column, count] of refused)
      notes.push(
        `${formatCount(count)} of ${formatCount(events)} events of ${source} do not count: '${column}' is missing or not what the source declares`,
      );
  }
  for (const { view, refused, repeated } of views) {
    if (refused > 0)
      notes.push(`${formatCount(refused)} events do not count in ${view}: its filter or a projection failed`);
    if (repeated > 0)
      notes.push(
        `${formatCount(repeated)} events of ${view} repeat another under its id and do not count again`,
      );
  }
  for (const [entity, count] of withoutKey)
    notes.push(`${formatCount(count)} rows have no ${entity}: their features of it are null`);
  for (const [feature, count] of errors)
    notes.push(`${feature} could not be computed for ${formatCount(count)} rows: it is null there`);
  const table = textTable([
    ['view', 'rows', 'events'],
    ...views.map((view) => [view.view, formatCount(view.rows), formatCount(view.events)]),
  ]);
  const rate = formatCount((rows / elapsedMs) * 1000);
  return [
    `${out}: ${formatCount(rows)} rows in ${formatDurationShort(elapsedMs)} (${rate}/s)${resumed ? ', going on with what another run had done (what follows is of this one)' : ''}`,
    table,
    ...notes,
  ].join('\n');
}

function logNotes(source: string, { gone, refused }: LoggedHistory, events: number): string[] {
  const notes: string[] = [];
  if (events === 0) notes.push(`the log of ${source} has no events`);
  if (gone > 0) {
    notes.push(
      `the log of ${source} did not hold ${formatCount(gone)} records any more: features may lack their events`,
    );
  }
  for (const [reason, count] of refused)
    notes.push(
      `${formatCount(count)} records of the log of ${source} are no events of it and do not count (${reason})`,
    );
  return notes;
}
