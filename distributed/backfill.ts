/** A backfill over Kafka and Redis: the history is written by this process, then the topic is applied as in a rebuild. */
import { setTimeout as delay } from 'node:timers/promises';
import { StoreUnavailableError } from '../engine/store/store-errors.ts';
import { Backfill, BackfillLostError, type BackfillOptions } from '../roles/backfill.ts';
import type { RebuildLook } from '../roles/view-rebuild.ts';
import {
  CONFIRM_AFTER_MS,
  driveOverKafka,
  type RebuildOptions,
  rebuildOptions,
  withBackend,
} from './rebuild.ts';

/** Pause before the store is asked again, ms. */
const TROUBLE_PAUSE_MS = 1_000;

/** The signal aborted while the store did not answer. */
class GivenUpWaiting extends Error {}

/** What a history is written to. */
export interface BackfillSink extends Pick<Backfill, 'cut' | 'write' | 'complete'> {
  /** As the engine has it, ms. */
  readonly nowMs: number;
}

export interface BackfillViewOptions extends RebuildOptions {
  readonly positions: BackfillOptions['positions'];
  readonly history?: string;
  /** Writes all of the history and completes it, or returns when the signal aborts; called again where the store has lost writes. */
  readonly fill: (sink: BackfillSink, signal: AbortSignal) => Promise<void>;
}

/**
 * Fills a view from a history and the topic, or goes on with that; a store that does not answer is waited for. Resolves as
 * `rebuildView` does, and with `backfilling` where the signal aborted meanwhile.
 * @throws what `rebuildView` and `Backfill.begin` throw, and `fill`
 */
export async function backfillView(
  options: BackfillViewOptions,
  signal: AbortSignal,
): Promise<RebuildLook['state']> {
  return withBackend(options, async (parts) => {
    const { positions, history, fill, onBegun, onTrouble = () => {}, acceptGap = false } = options;
    const begin = await rebuildOptions(options, parts);
    const backfill = await Backfill.begin({
      ...{ ...begin, acceptGap, positions },
      ...(history === undefined ? {} : { history }),
    });
    const { rebuild, cut } = backfill;
    onBegun?.(rebuild.resumed);
    let told = '';
    /** Until the store answers: what was done so far, the history most of all, need not be done again. */
    const patiently = async <T>(call: () => Promise<T>): Promise<T> => {
      for (;;) {
        try {
          const result = await call();
          told = '';
          return result;
        } catch (error) {
          if (!(error instanceof StoreUnavailableError)) throw error;
          if (signal.aborted) throw new GivenUpWaiting();
          if (error.message !== told) onTrouble(error);
          told = error.message;
          await delay(TROUBLE_PAUSE_MS, undefined, { signal }).catch(() => {});
        }
      }
    };
    for (;;) {
      const { state } = await patiently(() => rebuild.look());
      if (state !== 'backfilling') {
        const ended = await driveOverKafka(options, parts, { rebuild, writing: begin.writing }, signal);
        if (ended !== 'backfilling') return ended;
      }
      if (signal.aborted) return 'backfilling';
      try {
        await patiently(() => backfill.start());
        const nowMs = begin.writing.clock.nowMs();
        await fill(
          {
            ...{ cut, nowMs },
            write: (states) => patiently(() => backfill.write(states)),
            complete: (...ends) => patiently(() => backfill.complete(...ends)),
          },
          signal,
        );
      } catch (error) {
        if (error instanceof GivenUpWaiting) return 'backfilling';
        // Given up by somebody else, it is told by the next look.
        if (!(error instanceof BackfillLostError)) throw error;
        onTrouble(error);
      }
      // The log may be applied to what Redis has flushed only: what it lost of the states nobody would write again.
      await delay(CONFIRM_AFTER_MS, undefined, { signal }).catch(() => {});
    }
  });
}
