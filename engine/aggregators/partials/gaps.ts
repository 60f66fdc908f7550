/**
 * Partial `gaps`: the largest and the smallest time between two events with none between them, in the total order of
 * C3; with a column, of events with a non-null value there. Events of one millisecond are 0 apart, whatever their ids,
 * so times are all it needs.
 *
 * Ordered: what is added lies wholly before or wholly behind what is there, and the gap at the seam counts. Where it
 * does not (late rows of a tile whose rows are gone) the parts' own gaps stand and no seam is counted: still the same
 * answer for the same parts, with the outermost first and last.
 *
 * Encoded: varint count · if any: varint first ms · if two or more: varint last − first, largest gap, smallest gap.
 */
import type { ByteReader, ByteWriter } from '../../bytes.ts';
import type { ColumnVector } from '../../tiles/row-block.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';

export class Gaps {
  count = 0;
  #firstMs = 0;
  #lastMs = 0;
  /** While there is no gap: less than every gap, and more than every gap. */
  #largestMs = -1;
  #smallestMs = Number.POSITIVE_INFINITY;

  /** null: fewer than two events. */
  get largestMs(): number | null {
    return this.count < 2 ? null : this.#largestMs;
  }

  /** null: fewer than two events. */
  get smallestMs(): number | null {
    return this.count < 2 ? null : this.#smallestMs;
  }

  clear(): void {
    this.count = 0;
    this.#largestMs = -1;
    this.#smallestMs = Number.POSITIVE_INFINITY;
  }

  /** Appends an event at or behind the last. */
  append(timeMs: number): void {
    if (this.count === 0) this.#firstMs = timeMs;
    else this.#takeGap(timeMs - this.#lastMs);
    this.#lastMs = timeMs;
    this.count++;
  }

  #takeGap(gapMs: number): void {
    if (gapMs > this.#largestMs) this.#largestMs = gapMs;
    if (gapMs < this.#smallestMs) this.#smallestMs = gapMs;
  }

  /** Joins what another has; it is not changed. */
  join(other: Gaps): void {
    if (other.count === 0) return;
    if (this.count === 0) {
      this.#firstMs = other.#firstMs;
      this.#lastMs = other.#lastMs;
    } else if (other.#firstMs >= this.#lastMs) {
      this.#takeGap(other.#firstMs - this.#lastMs);
      this.#lastMs = other.#lastMs;
    } else if (other.#lastMs <= this.#firstMs) {
      this.#takeGap(this.#firstMs - other.#lastMs);
      this.#firstMs = other.#firstMs;
    } else {
      this.#firstMs = Math.min(this.#firstMs, other.#firstMs);
      this.#lastMs = Math.max(this.#lastMs, other.#lastMs);
    }
    this.count += other.count;
    this.#largestMs = Math.max(this.#largestMs, other.#largestMs);
    this.#smallestMs = Math.min(this.#smallestMs, other.#smallestMs);
  }

  encode(w: ByteWriter): void {
    w.varint(this.count);
    if (this.count === 0) return;
    w.varint(this.#firstMs);
    if (this.count === 1) return;
    w.varint(this.#lastMs - this.#firstMs);
    w.varint(this.#largestMs);
    w.varint(this.#smallestMs);
  }

  /** Reads what `encode` wrote in place of what is here. */
  read(r: ByteReader): void {
    this.clear();
    this.count = r.varint();
    if (this.count === 0) return;
    this.#firstMs = r.varint();
    this.#lastMs = this.#firstMs;
    if (this.count === 1) return;
    this.#lastMs += r.varint();
    this.#largestMs = r.varint();
    this.#smallestMs = r.varint();
  }
}

/** Events on their way into a state; used within one call only. */
const incoming = new Gaps();

function appendAll(times: Float64Array, from: number, to: number): void {
  for (let i = from; i < to; i++) incoming.append(times[i]!);
}

function appendNonNull(times: Float64Array, values: ColumnVector, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const value = values[i]!;
    if (value !== null && !Number.isNaN(value)) incoming.append(times[i]!);
  }
}

export const gaps: PartialFactory = ({ key, column }): PartialAggregate<Gaps> => ({
  ordered: true,
  key,
  column,
  create: () => new Gaps(),
  clear(state) {
    state.clear();
  },
  addRows(state, rows, from, to) {
    incoming.clear();
    if (column === -1) appendAll(rows.times, from, to);
    else appendNonNull(rows.times, rows.columns[column]!, from, to);
    state.join(incoming);
  },
  absorb(state, r) {
    incoming.read(r);
    state.join(incoming);
  },
  encode(state, w) {
    state.encode(w);
  },
});
