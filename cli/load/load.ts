/** `millrace load`: the tables of batch sources, loaded once or on a schedule, one source at a time. */
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { sourcesOf } from '../../engine/definitions/compiled.ts';
import { spellDuration } from '../../engine/windows/duration.ts';
import { type BatchSource, isBatchSource } from '../../offline/fact-table.ts';
import { CliError } from '../cli-error.ts';
import { HttpClient } from '../http-client.ts';
import { loadFeatureRepo } from '../load-features.ts';
import { REJECTIONS_SHOWN } from '../replay/event-sender.ts';
import { formatCount, formatDurationShort, progressDisplay } from '../replay/progress-display.ts';
import type { Config } from '../settings.ts';
import { type Shutdown, shutdownOnSignals } from '../shutdown.ts';
import { type LoadProgress, type LoadSummary, loadSource } from './load-source.ts';

export interface LoadCommand {
  /** None: all batch sources. */
  readonly sources: readonly string[];
  readonly once: boolean;
  /** null: as the sources say. */
  readonly everyMs: number | null;
  readonly state: string;
  readonly again: boolean;
  /** Facts per request. */
  readonly batch: number;
  /** Requests at a time. */
  readonly inFlight: number;
  readonly memoryBytes: number;
}

interface Scheduled {
  readonly source: BatchSource;
  /** null: once. */
  readonly everyMs: number | null;
  /** By the clock of `performance.now()`. */
  dueMs: number;
  again: boolean;
}

/**
 * Returns the exit code: 0, or 1 where a fact or a whole load failed that is not tried again, and 130 where it was stopped in one
 * that is not. A schedule ends by a signal, with 0.
 */
export async function load(config: Config, command: LoadCommand): Promise<number> {
  const repo = await loadFeatureRepo(config.features);
  const schedule = scheduleOf(repo, config.features, command);
  const client = new HttpClient(config.url, { connections: command.inFlight });
  const shutdown = shutdownOnSignals((signal) => {
    process.stderr.write(`${signal}: stopping; once more exits at once.\n`);
  });
  try {
    return await runSchedule(schedule, shutdown, (source, again) => {
      const display = new LoadDisplay(source.name);
      return loadSource({
        ...{ source, client, again, state: resolve(command.state), featuresDir: config.features },
        ...{ batch: command.batch, inFlight: command.inFlight, memoryBytes: command.memoryBytes },
        nowMs: Date.now,
        signal: shutdown.signal,
        onProgress: (progress) => display.update(progress),
      }).then(
        (summary) => {
          display.stop();
          process.stdout.write(`${describeLoad(source, summary, display.elapsedMs)}\n`);
          return summary;
        },
        (error: unknown) => {
          display.stop();
          throw error;
        },
      );
    });
  } finally {
    shutdown.dispose();
    await client.close();
  }
}

function scheduleOf(repo: CompiledRepo, features: string, command: LoadCommand): Scheduled[] {
  const all = sourcesOf(repo).filter(isBatchSource);
  const names = all.map(({ name }) => name).join(', ') || 'none';
  if (all.length === 0) throw new CliError(`${features} has no batch source (--features)`);
  for (const name of command.sources) {
    if (all.some((source) => source.name === name)) continue;
    throw new CliError(
      `${features} has no batch source ${name}; its batch sources are ${names} (--features, --source)`,
    );
  }
  const chosen =
    command.sources.length === 0 ? all : all.filter(({ name }) => command.sources.includes(name));
  return chosen.map((source) => ({
    source,
    everyMs: command.once ? null : (command.everyMs ?? source.batch.everyMs),
    dueMs: performance.now(),
    again: command.again,
  }));
}

async function runSchedule(
  schedule: Scheduled[],
  { signal }: Shutdown,
  loadOne: (source: BatchSource, again: boolean) => Promise<LoadSummary>,
): Promise<number> {
  let code = 0;
  let left = schedule;
  while (left.length > 0) {
    const next = left.reduce((first, other) => (other.dueMs < first.dueMs ? other : first));
    // Timers cannot wait for longer than 24 days.
    const waitMs = Math.min(next.dueMs - performance.now(), 86_400_000);
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    if (next.dueMs > performance.now()) continue;
    const isScheduled = next.everyMs !== null;
    try {
      const { stopped, table, totals } = await loadOne(next.source, next.again);
      if (stopped) return isScheduled ? code : 130;
      next.again = false;
      if (!isScheduled && ((table?.bad.count ?? 0) > 0 || totals.rejected > 0)) code = 1;
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      process.stderr.write(
        `millrace: ${error.message}${isScheduled ? `\n  ${next.source.name} is tried again in ${spellDuration(next.everyMs!)} at most` : ''}\n`,
      );
      if (!isScheduled) code = error.exitCode;
    }
    if (next.everyMs === null) left = left.filter((one) => one !== next);
    // Times that were missed are not made up for.
    else next.dueMs += next.everyMs * Math.ceil((performance.now() - next.dueMs) / next.everyMs);
  }
  return code;
}

const SHOW_EVERY_MS = 100;

class LoadDisplay {
  readonly #source: string;
  readonly #startedMs = performance.now();
  readonly #display = progressDisplay(process.stderr, 'facts');
  #phaseMs = this.#startedMs;
  #shown: LoadProgress | null = null;
  readonly #timer: NodeJS.Timeout;

  constructor(source: string) {
    this.#source = source;
    this.#timer = setInterval(() => this.#show(), SHOW_EVERY_MS);
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  update(progress: LoadProgress): void {
    if (progress.phase !== this.#shown?.phase) this.#phaseMs = performance.now();
    this.#shown = progress;
  }

  #show(): void {
    if (this.#shown === null) return;
    const { phase, done, facts } = this.#shown;
    const phaseMs = performance.now() - this.#phaseMs;
    const share = facts === 0 ? 0 : done / facts;
    this.#display.update({
      percent: Math.floor(share * 100),
      events: formatCount(done),
      rate: formatCount(phaseMs === 0 ? 0 : (done / phaseMs) * 1000),
      eta: formatDurationShort(share === 0 ? Number.POSITIVE_INFINITY : (phaseMs * (1 - share)) / share),
      note: `${this.#source}: ${phase}`,
      elapsedMs: this.elapsedMs,
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#show();
    this.#display.stop();
  }
}

/** What was loaded, and what was not. */
export function describeLoad(
  source: BatchSource,
  { table, found, totals, stopped }: LoadSummary,
  elapsedMs: number,
): string {
  const { accepted, duplicates, rejected, rejections } = totals;
  const took = formatDurationShort(elapsedMs);
  const { effectiveTime, key } = source.batch;
  const of = `${key.join(', ')}${effectiveTime === null ? '' : ` and ${effectiveTime}`}`;
  const pushed = `accepted ${formatCount(accepted)}, duplicates ${formatCount(duplicates)}, rejected ${formatCount(rejected)}`;
  const lines = [
    table === null
      ? `${source.name}: ${pushed} in ${took}`
      : `${source.name}: ${formatCount(table.rows)} rows, ${formatCount(found)} new or changed; ${pushed} in ${took}`,
  ];
  if (table !== null) {
    const { bad, replaced, tooEarly } = table;
    if (replaced > 0)
      lines.push(`  ${formatCount(replaced)} rows stand before another one of the same ${of}, which counts`);
    if (tooEarly > 0)
      lines.push(
        `  ${formatCount(tooEarly)} rows hold from later on than maxFuture lets in: they are loaded when it is time`,
      );
    if (bad.count > 0) {
      lines.push(
        `  ${formatCount(bad.count)} rows cannot be used, and are not loaded${bad.count > bad.first.length ? `; the first ${bad.first.length}` : ''}:`,
      );
      for (const { row, column } of bad.first) {
        const { type } = source.columns[column]!;
        lines.push(`    row ${formatCount(row)}: '${column}' is missing, or no ${type}`);
      }
    }
  }
  if (rejections.length > 0) {
    lines.push(
      `  ${rejected > REJECTIONS_SHOWN ? `the first ${REJECTIONS_SHOWN} facts` : 'facts'} that the server refused, which are tried again by the next load:`,
    );
    for (const { code, message } of rejections) lines.push(`    ${code}: ${message}`);
  }
  if (stopped) lines.push('  stopped: the next load goes on from here');
  return lines.join('\n');
}
