/** `millrace skew`: compares, shows what was found, and writes it down where that is wanted. */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import {
  type FeatureSkew,
  featureSkew,
  type SkewReport,
  type WorstDifference,
} from '../../offline/decisions/skew.ts';
import { skewJson, skewMetrics } from '../../offline/decisions/skew-report.ts';
import { InputError } from '../../offline/input-error.ts';
import { CliError } from '../cli-error.ts';
import { loadFeatureRepo } from '../load-features.ts';
import { formatCount, formatDurationShort } from '../replay/progress-display.ts';
import type { Config } from '../settings.ts';
import { shutdownOnSignals } from '../shutdown.ts';
import { textTable } from '../text-table.ts';
import { countOf, leftOutNotes } from './describe-decisions.ts';
import { explainLog, HistoryLogs } from './history-logs.ts';
import { evaluationThreadModule } from './thread-module.ts';
import { TrainingDisplay } from './training-display.ts';

export interface SkewCommand {
  readonly service: string;
  readonly decisions: string;
  /** By source; '' alone: that of the only one. */
  readonly history: ReadonlyMap<string, string>;
  readonly rows: number;
  readonly seed: number;
  readonly tolerance: number;
  readonly lagMs: number;
  /** Match rate of a feature below which it fails; 0: it never does. */
  readonly failBelow: number;
  readonly report: string | null;
  readonly metrics: string | null;
  readonly memoryBytes: number;
  readonly threads: number;
}

/** @returns the exit code @throws CliError where what was given cannot be used */
export async function skew(config: Config, command: SkewCommand): Promise<number> {
  const repo = await loadFeatureRepo(config.features);
  const startedMs = performance.now();
  const display = new TrainingDisplay(process.stderr);
  const shutdown = shutdownOnSignals((signal) => {
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    if (logs.isReading) return;
    display.stop();
    process.exit();
  });
  const logs = new HistoryLogs(config, process.stderr, shutdown.signal);
  const history = new Map([...command.history].map(([source, path]) => [source, logs.historyOf(path)]));
  const { history: _, report: reportFile, metrics, failBelow, ...options } = command;
  let report: SkewReport;
  try {
    report = await featureSkew({
      ...{ ...options, repo, secret: config.decisionLogSecret },
      history: history.get('') ?? Object.fromEntries(history),
      threadModule: evaluationThreadModule(config.features),
      onProgress: (progress) => display.update(progress),
    });
  } catch (error) {
    if (shutdown.signal.aborted) return shutdown.signal.reason === 'SIGINT' ? 130 : 143;
    if (error instanceof InputError) throw new CliError(error.message, { cause: error });
    throw (await explainLog(error)) ?? error;
  } finally {
    display.stop();
    shutdown.dispose();
  }
  const finishedMs = Date.now();
  process.stdout.write(`${describeSkew(report, performance.now() - startedMs)}\n`);
  if (reportFile !== null)
    await write(reportFile, '--report', `${JSON.stringify(skewJson(report, finishedMs), null, 2)}\n`);
  if (metrics !== null) await write(metrics, '--metrics', skewMetrics(report, finishedMs));
  return hasFailed(report, failBelow) ? 1 : 0;
}

/** Nothing that was compared is no proof. */
export function hasFailed({ matchRate }: Pick<SkewReport, 'matchRate'>, failBelow: number): boolean {
  if (failBelow === 0) return false;
  return matchRate === null || matchRate < failBelow;
}

/** Beside its place first: whoever reads it finds the whole of it, or what was there before. */
async function write(file: string, flag: string, content: string): Promise<void> {
  // A collector that reads *.prom does not take it for another.
  const part = `${file}.${randomBytes(4).toString('hex')}.part`;
  try {
    const handle = await open(part, 'wx');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true }).catch(() => {});
    const { code } = error as NodeJS.ErrnoException;
    throw new CliError(`${file} cannot be written (${code}): name another file (${flag})`, { cause: error });
  }
}

/** For people: a line of what was compared, a row for each feature, and what they have to know of the rest. */
export function describeSkew(report: SkewReport, elapsedMs: number): string {
  const { service, decisions, features, matchRate } = report;
  const notes = leftOutNotes(decisions.leftOut, report);
  const differing = features.reduce((sum, feature) => sum + feature.differing, 0);
  const late = features.reduce((sum, feature) => sum + feature.late, 0);
  if (report.missingEvents > 0)
    notes.push(
      `${countOf(report.missingEvents, 'decided event')} recorded and not in the history: is it complete?`,
    );
  if (report.afterHistory > 0 && differing > 0)
    notes.push(
      `${countOf(report.afterHistory, 'decision')} later than the last event of the history: is it complete?`,
    );
  if (late > 0)
    notes.push(
      `late: ${countOf(late, 'value')} differing where events arrived after the answer; in no match rate`,
    );
  if (differing > 0 && report.knowsArrivals)
    notes.push(
      'a busy engine may answer without what came just before: a longer --lag counts that as late, and not as a difference',
    );
  if (differing > 0 && !report.knowsArrivals)
    notes.push(
      'the history does not say when events arrived (_appended_at, as an archive does): what came after an answer shows as a difference',
    );
  const worst = features.flatMap(({ feature, worst: own }) =>
    own === null ? [] : [[feature, own] as const],
  );
  return [
    `${service}: ${countOf(decisions.computed, 'decision')} of ${formatCount(decisions.ofService)} computed again in ${formatDurationShort(elapsedMs)}, ${verdict(matchRate, late)}`,
    textTable([
      ['feature', 'compared', 'equal', 'match', 'late', 'not compared'],
      ...features.map(featureRow),
    ]),
    ...(worst.length === 0
      ? []
      : [
          'worst differences',
          textTable([
            ['feature', 'logged', 'computed', 'relative', 'as of', 'record', 'request'],
            ...worst.map(([feature, own]) => worstRow(feature, own)),
          ]),
        ]),
    ...notes,
  ].join('\n');
}

function verdict(matchRate: number | null, late: number): string {
  if (matchRate === null) return 'nothing to compare';
  if (matchRate < 1) return `least match rate ${percent(matchRate)}`;
  return late === 0
    ? 'no skew: every value is equal'
    : `every value that was compared is equal, and ${formatCount(late)} that differ may be late`;
}

/** Rounded down: what is not all is not 100 %. */
function percent(rate: number): string {
  return `${(Math.floor(rate * 1e6) / 1e4).toFixed(rate === 1 ? 0 : 4)} %`;
}

function featureRow({ feature, compared, equal, matchRate, late, notCompared }: FeatureSkew): string[] {
  return [
    feature,
    formatCount(compared),
    formatCount(equal),
    matchRate === null ? '-' : percent(matchRate),
    late === 0 ? '' : formatCount(late),
    [...notCompared].map(([status, count]) => `${status} ${formatCount(count)}`).join(', '),
  ];
}

function worstRow(
  feature: string,
  { logged, computed, relative, atMs, record, request, row }: WorstDifference,
): string[] {
  return [
    feature,
    logged ?? '…',
    computed ?? '…',
    relative === null ? '-' : relative.toExponential(1),
    new Date(atMs).toISOString(),
    record,
    `${request ?? '-'}${row === null || row === 0 ? '' : ` row ${row}`}`,
  ];
}
