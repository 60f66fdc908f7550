/** The parts of the protocol that must not be missing without a test that fails, and the mutations that disable each. */
import type { Mutation } from './mutations.ts';

export const PARTS = {
  'offset check': ['no_offset_check', 'no_floor', 'highest_offset', 'early_forgotten'],
  'compare-and-set': ['no_cas', 'counter_token', 'watermark_by_offset'],
  dedupe: ['no_dedupe', 'ids_forgotten'],
  'compaction atomicity': ['torn_fold', 'stale_watermark'],
  "watermark's run-id check": ['no_incarnation_check', 'watermark_from_absent'],
  'dead-letter identity': ['dlq_identity'],
} as const satisfies Record<string, readonly Mutation[]>;

export type Part = keyof typeof PARTS;

/** The part that a mutation disables; null: none of these. */
export function partOf(mutation: Mutation): Part | null {
  const parts = Object.entries(PARTS) as [Part, readonly Mutation[]][];
  return parts.find(([, mutations]) => mutations.includes(mutation))?.[0] ?? null;
}
