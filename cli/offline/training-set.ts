/** `millrace training-set`: makes one, shows how far it is, and says what was seen on the way. */
import type { LoggedHistory } from '../../offline/history-log.ts';
import { InputError } from '../../offline/input-error.ts';
import { type TrainingFileOptions, trainingSetFile } from '../../offline/make-training-set.ts';
import type { TrainingProgress, TrainingSummary } from '../../offline/training-set.ts';
import { CliError } from '../cli-error.ts';
import { loadFeatureRepo } from '../load-features.ts';
import { formatCount, formatDurationShort, progressDisplay } from '../replay/progress-display.ts';
import type { Config } from '../settings.ts';
import { shutdownOnSignals } from '../shutdown.ts';
import { textTable } from '../text-table.ts';
import { explainLog, HistoryLogs } from './history-logs.ts';

export interface TrainingSetCommand {
  readonly service: string;
  readonly spine: string;
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
  const { time, eventId, eventSource, work } = command;
  const history = new Map([...command.history].map(([source, path]) => [source, logs.historyOf(path)]));
  const ofOne = history.get('');
  const options: TrainingFileOptions = {
    ...{ repo, service: command.service, spine: command.spine, out: command.out, prefix: command.prefix },
    ...{ memoryBytes: command.memoryBytes, threads: command.threads },
    history: ofOne ?? Object.fromEntries(history),
    ...(time === undefined ? {} : { time }),
    ...(eventId === undefined ? {} : { eventId }),
    ...(eventSource === undefined ? {} : { eventSource }),
    ...(work === undefined ? {} : { work }),
    threadModule: {
      url: new URL(`./evaluation-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
      data: config.features,
    },
    onProgress: (progress) => display.update(progress),
  };
  try {
    const summary = await trainingSetFile(options);
    display.stop();
    const elapsedMs = performance.now() - startedMs;
    process.stdout.write(`${describeTrainingSet(command.out, summary, elapsedMs)}\n`);
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

class TrainingDisplay {
  readonly #stream: NodeJS.WriteStream;
  #startedMs = 0;
  #display: ReturnType<typeof progressDisplay> | null = null;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** Begins to count with the first call: before it logs may have been read, which have a display of their own. */
  update({ phase, share, rows }: TrainingProgress): void {
    if (this.#display === null) {
      this.#startedMs = performance.now();
      this.#display = progressDisplay(this.#stream, 'rows');
    }
    const elapsedMs = performance.now() - this.#startedMs;
    this.#display.update({
      percent: Math.floor(share * 100),
      events: formatCount(rows),
      rate: formatCount((rows / elapsedMs) * 1000),
      eta: formatDurationShort(share === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * (1 - share)) / share),
      note: phase,
      elapsedMs,
    });
  }

  stop(): void {
    this.#display?.stop();
  }
}

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
        `${formatCount(count)} of ${formatCount(events)} events of ${source} do not count: '${column}' is missing or not what it must be`,
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
