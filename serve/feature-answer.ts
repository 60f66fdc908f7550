import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import type { MissingTime } from './missing-time.ts';

/** C9 */
export const FEATURE_STATUSES = [
  'present',
  'empty',
  'coarse',
  'catching_up',
  'stale',
  'timed_out',
  'error',
] as const;

export type FeatureStatus = (typeof FEATURE_STATUSES)[number];

export interface FeatureAnswer {
  readonly value: FeatureValue;
  readonly status: FeatureStatus;
  /** Whether the value leaves something out for its size. */
  readonly truncated: boolean;
  /** Bounds used: fromMs < event time ≤ toMs; fromMs null: no old edge. null: the feature has no window. */
  readonly window: { readonly fromMs: number | null; readonly toMs: number } | null;
  /** Left out: nothing is known to be missing for good. */
  readonly missing?: MissingTime;
  /** Of a `stale` value: for how long it has been the last one known, or how old its newest event is, ms. */
  readonly ageMs?: number;
  /** Of a series: the bounds of each of its windows, oldest first. */
  readonly windows?: readonly { readonly fromMs: number | null; readonly toMs: number }[];
}

export function withoutValue(status: 'timed_out' | 'error'): FeatureAnswer {
  return { value: null, status, truncated: false, window: null };
}
