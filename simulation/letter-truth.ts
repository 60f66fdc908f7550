/** Whether a dead letter is right: its record cannot be used, for that reason and by that view. */
import type { DeadLetter } from '../ingest/dead-letter.ts';
import { Mismatch } from './mismatch.ts';
import type { RunState } from './run-state.ts';

/** @throws Mismatch */
export function checkLetter({ content, faults }: RunState, letter: DeadLetter): void {
  const { partition, offset, reason, view } = letter;
  const unusable = content.unusableAt({ partition, offset });
  if (unusable !== undefined) {
    if (view === null && reason === unusable.reason) return;
  } else {
    const occurrence = content.at({ partition, offset });
    if (reason === 'filter_or_projection' && view === 'by_kind' && occurrence.poison) return;
    if (reason === 'unknown_schema' && view === null && occurrence.schemaLosable) {
      faults.add('dead letter for a lost schema');
      return;
    }
  }
  throw new Mismatch(`dead letter of ${partition}:${offset} for ${view ?? 'all views'}: ${reason}`);
}
