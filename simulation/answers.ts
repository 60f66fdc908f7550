/** Kinds of answers that simulated readers got, by name, and how often. */

export const ANSWERS = [
  // Values, by status.
  'present',
  'empty',
  'coarse',
  'catching up: behind the log',
  'catching up: log or store not seen for too long',
  'catching up: the store lost something since',
  'catching up: records are missing for good',
  // Reads.
  'read refused: the store did not answer',
  'read while states were written',
  'read while the store fell back or was wiped',
  'read for an event',
  'read of what was waited for',
] as const;

export type Answer = (typeof ANSWERS)[number];

export class AnswerCounts {
  readonly #times = new Map<Answer, number>();

  add(answer: Answer): void {
    this.#times.set(answer, (this.#times.get(answer) ?? 0) + 1);
  }

  /** How often each kind occurred; those that did not are left out. */
  get byKind(): ReadonlyMap<Answer, number> {
    return this.#times;
  }
}
