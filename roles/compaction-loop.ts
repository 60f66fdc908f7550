/**
 * Runs compaction beside ingest and serving, in one process: small steps, and a pause after each that is as long
 * as the step took; several times as long while features are being read.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { CompactionCounts, Compactor } from '../compaction/compactor.ts';

export interface CompactionLoopOptions {
  readonly compactor: Compactor;
  readonly shards: number;
  /** Pause when nothing is due, ms. */
  readonly idleMs: number;
  /** Time since features were last asked for, ms. */
  readonly quietMs: () => number;
  /** @param tookMs how long the step took */
  readonly onStep: (counts: CompactionCounts, tookMs: number) => void;
  readonly onError: (error: unknown) => void;
  /** All shards have been looked at. @param failed whether any of them failed */
  readonly onRound: (failed: boolean) => void;
}

const BUSY_WITHIN_MS = 50;
const BUSY_FACTOR = 4;
const ERROR_PAUSE_MS = 1_000;

/** Resolves when the signal has aborted and the step under way is done. Never rejects. */
export async function runCompaction(options: CompactionLoopOptions, signal: AbortSignal): Promise<void> {
  const { compactor, shards, idleMs, quietMs, onStep, onError, onRound } = options;
  while (!signal.aborted) {
    let pauseMs = idleMs;
    let failed = false;
    for (let shard = 0; shard < shards && !signal.aborted; shard++) {
      const startedMs = performance.now();
      try {
        const counts = await compactor.step(shard);
        const tookMs = performance.now() - startedMs;
        onStep(counts, tookMs);
        if (counts.compacted + counts.ended + counts.conflicts + counts.postponed > 0) {
          pauseMs = Math.min(pauseMs, tookMs * (quietMs() < BUSY_WITHIN_MS ? BUSY_FACTOR : 1));
        }
      } catch (error) {
        onError(error);
        failed = true;
      }
    }
    onRound(failed);
    // Other shards may have work; the one that fails must not be asked without pause.
    if (failed) pauseMs = Math.max(pauseMs, ERROR_PAUSE_MS);
    await delay(pauseMs, undefined, { signal }).catch(() => {});
  }
}
