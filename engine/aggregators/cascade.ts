/**
 * A few doubles in front of an `Expansion`, for loops over rows whose terms have more bits than a double: each cell
 * takes the rounding errors of the cell before it (two-sum, as in `Expansion.add`), so a term stops at the first cell
 * that holds all that is left of it. The expansion itself is touched once at the end, and where the last cell rounds.
 *
 * Misuse: a cascade is emptied only by `flush`; whoever adds to it must flush into the same expansion.
 */
import type { Expansion } from './expansion.ts';

/** Sums of fourth powers of full-precision doubles take five to six parts of 53 bits. */
const CELLS = 6;

export class Cascade {
  readonly #cells = new Float64Array(CELLS);

  /**
   * @param sum takes what the last cell cannot
   * @param from the first cell to try: 1 for a rounding error of what went to cell 0, and so on
   */
  add(value: number, from: number, sum: Expansion): void {
    const cells = this.#cells;
    let carry = value;
    for (let i = from; i < CELLS; i++) {
      const cell = cells[i]!;
      const next = cell + carry;
      const rounded = next - cell;
      const error = cell - (next - rounded) + (carry - rounded);
      cells[i] = next;
      if (error === 0) return;
      carry = error;
    }
    sum.add(carry);
  }

  /** Adds everything to the expansion and is empty again. */
  flush(sum: Expansion): void {
    for (let i = CELLS - 1; i >= 0; i--) sum.add(this.#cells[i]!);
    this.#cells.fill(0);
  }
}
