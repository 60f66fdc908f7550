import type { CompactionPacing } from '../../engine/tiles/state-update.ts';
import type { TileShape } from '../../engine/tiles/tile-shape.ts';
import type { CompiledRepo } from '../../index.ts';

export const killRepo: CompiledRepo;
export const KEYS: readonly string[];
export const SHAPE: TileShape;
export const PACING: CompactionPacing;

export function uniformNumbers(seed: number): () => number;

/** One push of a round; `startMs` is when the round began. */
export interface PushName {
  readonly round: number;
  readonly number: number;
  readonly startMs: number;
}

export interface KillEvent {
  /** Different for every event of a run. */
  readonly tag: string;
  readonly at: string;
  readonly key: string;
  readonly n: number;
}

export function pushOf(name: PushName): {
  readonly source: 'taps' | 'strokes';
  readonly events: readonly KillEvent[];
};
