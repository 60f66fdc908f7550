import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';
import type { MissingTime } from './missing-time.ts';

/** C9; `stale` and `timed_out` come with remote stores and deadlines. */
export const FEATURE_STATUSES = ['present', 'empty', 'coarse', 'catching_up', 'error'] as const;

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
  /** Of a series: the bounds of each of its windows, oldest first. */
  readonly windows?: readonly { readonly fromMs: number | null; readonly toMs: number }[];
}
