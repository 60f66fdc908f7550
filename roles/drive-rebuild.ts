/** Drives a rebuild to its end: applies the log while it is behind, leaves it to ingest when it is near the end. */
import { setTimeout as delay } from 'node:timers/promises';
import { PartitionStoppedError } from '../ingest/partition-stopped.ts';
import { LeftAlone } from './left-alone.ts';
import { LogTooShortError } from './log-reach.ts';
import type { RebuildLook, ViewRebuild } from './view-rebuild.ts';

/** Applies the log to the namespace being filled. */
export interface Filling {
  /** Why it is not as it should be, a sentence each; empty: it is. */
  failing?(): readonly string[];
  /** Finishes the chunks under way. */
  stop(): Promise<void>;
}

export interface RebuildDriverOptions {
  readonly rebuild: Pick<ViewRebuild, 'look'>;
  /** @param failed call it where it cannot go on, and nobody else could */
  readonly fill: (failed: (error: unknown) => void) => Promise<Filling>;
  readonly onLook?: (look: RebuildLook) => void;
  /** A time that only goes forward, ms. @default since the process began */
  readonly elapsedMs?: () => number;
  /**
   * How long after the switch the store is asked whether it still has it, ms: one that has lost its newest writes is
   * building again, and nobody else would finish that. @default 0: it loses nothing while this process lives
   */
  readonly confirmAfterMs?: number;
  /**
   * Whether somebody else writes the history of one that has one, so that it is waited for. @default false: it is over when
   * there is one to be written
   */
  readonly waitsForHistory?: boolean;
}

/** Takes one look after the other, and has the log applied in between where that is due. */
export class RebuildDriver {
  readonly #options: RebuildDriverOptions;
  readonly #elapsedMs: () => number;
  #filling: Filling | null = null;
  readonly #leftAlone = new LeftAlone();
  #switchedAtMs: number | null = null;
  #isOver = false;
  #state: RebuildLook['state'] = 'filling';
  #failure: { readonly error: unknown } | null = null;

  constructor(options: RebuildDriverOptions) {
    this.#options = options;
    this.#elapsedMs = options.elapsedMs ?? (() => performance.now());
  }

  /** As last seen. */
  get state(): RebuildLook['state'] {
    return this.#state;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Why the filling is not as it should be, a sentence each. */
  get failing(): readonly string[] {
    return this.#filling?.failing?.() ?? [];
  }

  /** What the filling or a look failed with for good; null: it can go on. */
  get failure(): { readonly error: unknown } | null {
    return this.#failure;
  }

  /** Looks, takes the step that is due, begins to apply the log or rests. @throws whatever failed; try again */
  async step(): Promise<void> {
    const { fill, onLook, confirmAfterMs = 0, waitsForHistory = false } = this.#options;
    const look = await this.#look();
    if (look === null) return;
    const nowMs = this.#elapsedMs();
    this.#state = look.state;
    this.#switchedAtMs = look.state === 'switched' ? (this.#switchedAtMs ?? nowMs) : null;
    const isConfirmed = this.#switchedAtMs !== null && nowMs - this.#switchedAtMs >= confirmAfterMs;
    const isStopped = look.state === 'backfilling' && !waitsForHistory;
    this.#isOver = look.state === 'given_up' || isConfirmed || isStopped;
    onLook?.(look);
    if (this.#isOver) return;
    if (look.state === 'backfilling') {
      await this.stop();
      return;
    }
    const isLeftAlone = this.#leftAlone.look(look, nowMs);
    // Two that apply the same partition only make each other go back: one of them rests.
    if (look.state === 'switched' || (look.state === 'joined' && !isLeftAlone)) await this.stop();
    else
      this.#filling ??= await fill((error) => {
        this.#failure = { error };
      });
  }

  /** @returns null where it cannot go on */
  async #look(): Promise<RebuildLook | null> {
    try {
      return await this.#options.rebuild.look();
    } catch (error) {
      const isFinal = error instanceof LogTooShortError || error instanceof PartitionStoppedError;
      if (!isFinal) throw error;
      this.#failure = { error };
      return null;
    }
  }

  /** Ends the filling; the chunks under way are finished. */
  async stop(): Promise<void> {
    const stopping = this.#filling;
    this.#filling = null;
    await stopping?.stop();
  }
}

export interface DriveRebuildOptions extends RebuildDriverOptions {
  /** Pause between looks, ms. */
  readonly lookEveryMs: number;
  /** A look failed, or the filling does so in another way than before; it is tried again. */
  readonly onTrouble: (error: unknown) => void;
}

const TROUBLE_PAUSE_MS = 1_000;

/**
 * Resolves with how it ended: `switched`, `given_up`, `backfilling` where its history is to be written first, or where it
 * stood when the signal aborted.
 * @throws LogTooShortError, LogReplacedError as `look` does; what the filling failed with for good
 */
export async function driveRebuild(
  { lookEveryMs, onTrouble, ...options }: DriveRebuildOptions,
  signal: AbortSignal,
): Promise<RebuildLook['state']> {
  const driver = new RebuildDriver(options);
  let told = '';
  try {
    while (!signal.aborted && driver.failure === null) {
      let pauseMs = lookEveryMs;
      try {
        await driver.step();
        if (driver.isOver) return driver.state;
        const failing = driver.failing.join('; ');
        if (failing !== '' && failing !== told) onTrouble(new Error(failing));
        told = failing;
      } catch (error) {
        onTrouble(error);
        pauseMs = Math.max(pauseMs, TROUBLE_PAUSE_MS);
      }
      await delay(pauseMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    await driver.stop();
  }
  if (driver.failure !== null) throw driver.failure.error;
  return driver.state;
}
