import type { FeatureValue } from '../engine/aggregators/partial-aggregate.ts';

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
  /** Of a series: the bounds of each of its windows, oldest first. */
  readonly windows?: readonly { readonly fromMs: number | null; readonly toMs: number }[];
}
