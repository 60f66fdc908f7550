/** Where a definition is wrong: `place` reads like `view customer_spend, feature x`. */
export interface DefinitionProblem {
  readonly place: string;
  readonly message: string;
}

/** A feature repo that cannot work, with every problem found. Never retryable. */
export class DefinitionError extends Error {
  override readonly name = 'DefinitionError';
  readonly problems: readonly DefinitionProblem[];

  constructor(problems: readonly DefinitionProblem[]) {
    const lines = problems.map(({ place, message }) => `  ${place}: ${message}`);
    super(
      `${problems.length === 1 ? '1 problem' : `${problems.length} problems`} in the definitions:\n${lines.join('\n')}`,
    );
    this.problems = problems;
  }
}

/** Collects the problems of one place and of the places within it. */
export class ProblemList {
  readonly problems: DefinitionProblem[] = [];
  readonly #seen = new Set<string>();

  /** Adds a problem once, however often it is found. */
  add(place: string, message: string): void {
    const key = JSON.stringify([place, message]);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.problems.push({ place, message });
  }

  at(place: string): Report {
    return (message) => this.add(place, message);
  }
}

/** Says that something is wrong at a known place. */
export type Report = (message: string) => void;
