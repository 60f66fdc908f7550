/**
 * Whether the logs keep, and hold, what the windows of their views can reach. Values do not depend on it: the store has applied
 * it. But a store that is lost, a new view and a rebuild have nothing else, and whoever shortens the retention of a topic
 * is not told otherwise. So it is looked at again and again, and said as long as it is so.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { spellDuration } from '../engine/windows/duration.ts';
import type { Metrics } from '../serve/metrics.ts';
import { shortPartitions, sourceAppendReachMs } from './log-reach.ts';
import type { LogStart } from './log-start.ts';

export interface WatchedLog {
  readonly source: CompiledSource;
  /** What in its settings takes records appended less than `reachMs` ago (Infinity: any), a sentence each, which begins with whose. */
  retentionProblems(reachMs: number): Promise<readonly string[]>;
  start(fromMs: number): Promise<LogStart>;
}

export interface LogReachWatchOptions {
  readonly logs: readonly WatchedLog[];
  /** What windows count back from; null: event time, of which append times say nothing, so that only settings are looked at. */
  readonly clock: Clock | null;
  readonly logger?: FastifyBaseLogger;
  /** Pause between looks, ms: a request or two for each source. @default 60 s */
  readonly everyMs?: number;
}

const EVERY_MS = 60_000;
/**
 * Where the log has just dropped what nobody needs any more, its first record is younger than the reach by as long as nothing
 * was appended then. Of a loss so short nothing is said.
 */
const QUIET_SHARE = 0.1;

export class LogReachWatch {
  readonly #options: LogReachWatchOptions;
  readonly #warnings = new Map<CompiledSource, readonly string[]>();

  constructor(options: LogReachWatchOptions) {
    this.#options = options;
  }

  /** As last seen; a sentence for each. */
  get warnings(): string[] {
    return [...this.#warnings.values()].flat();
  }

  count(metrics: Metrics): void {
    for (const [{ name: source }, warnings] of this.#warnings) {
      metrics.set('millrace_log_too_short', { source }, warnings.length > 0 ? 1 : 0);
    }
  }

  /** A log that cannot be asked now is as it was last seen: that it cannot is for others to tell. Never rejects. */
  async look(): Promise<void> {
    const { logs, logger } = this.#options;
    await Promise.all(
      logs.map(async (log) => {
        const { source } = log;
        const before = this.#warnings.get(source) ?? [];
        const now = await this.#problems(log).catch(() => before);
        this.#warnings.set(source, now);
        for (const warning of now) {
          if (!before.includes(warning)) logger?.warn({ source: source.name }, warning);
        }
        if (before.length > 0 && now.length === 0) {
          logger?.info({ source: source.name }, 'the log keeps again what windows reach back to');
        }
      }),
    );
  }

  /** Resolves when the signal has aborted and the look under way is done. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs = EVERY_MS } = this.#options;
    for (;;) {
      await delay(everyMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await this.look();
    }
  }

  async #problems(log: WatchedLog): Promise<readonly string[]> {
    const reachMs = sourceAppendReachMs(log.source);
    if (reachMs === 0) return [];
    const { name } = log.source;
    const [problems, short] = await Promise.all([log.retentionProblems(reachMs), this.#short(log, reachMs)]);
    return [
      ...problems.map((problem) => `source ${name}, ${problem}`),
      ...(short.length === 0 ? [] : [describeShort(name, short, reachMs)]),
    ];
  }

  async #short(log: WatchedLog, reachMs: number): Promise<readonly number[]> {
    const { clock } = this.#options;
    const isForever = reachMs === Number.POSITIVE_INFINITY;
    if (!isForever && clock === null) return [];
    const fromMs = isForever ? 0 : Math.max(0, clock!.nowMs() - reachMs * (1 - QUIET_SHARE));
    const { ends, firstWithin } = await log.start(Math.ceil(fromMs));
    // One that holds nothing has let go of what is older than its retention, as far as anybody knows.
    return shortPartitions(ends, firstWithin).filter(
      (partition) => isForever || ends[partition]!.endOffset > ends[partition]!.startOffset,
    );
  }
}

function describeShort(source: string, partitions: readonly number[], reachMs: number): string {
  const where = `partition${partitions.length === 1 ? '' : 's'} ${partitions.join(', ')}`;
  const reach = reachMs === Number.POSITIVE_INFINITY ? 'to the first event' : spellDuration(reachMs);
  return (
    `source ${source}: its log has lost records in ${where} that windows, which reach back ${reach} (maxFuture included), may ` +
    'count: a store that is lost, a new view and a rebuild would lack them'
  );
}
