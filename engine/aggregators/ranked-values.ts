/**
 * The n best values of a column, best first, equal ones as often as they occur: the state of `largest_n` and
 * `smallest_n`. Equal values cannot be told apart, so the list is a function of the multiset of values.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import { readStoredValue, skipStoredValue, writeStoredValue } from './stored-value.ts';

/** Which of two values is better. */
export type Best = 'largest' | 'smallest';

export class RankedValues {
  readonly #largest: boolean;
  readonly #lengthMax: number;
  readonly #values: (number | bigint)[] = [];

  constructor(best: Best, lengthMax: number) {
    this.#largest = best === 'largest';
    this.#lengthMax = lengthMax;
  }

  /** Best first. */
  get values(): readonly (number | bigint)[] {
    return this.#values;
  }

  clear(): void {
    this.#values.length = 0;
  }

  /** JavaScript compares a number with a bigint by their exact values. */
  #isBetter(a: number | bigint, b: number | bigint): boolean {
    return this.#largest ? a > b : a < b;
  }

  /** Whether a value would be among the best. */
  takes(value: number | bigint): boolean {
    const values = this.#values;
    return values.length < this.#lengthMax || this.#isBetter(value, values[values.length - 1]!);
  }

  /** Puts a value that it takes in its place; the worst falls out where there are too many. */
  insert(value: number | bigint): void {
    const values = this.#values;
    if (values.length < this.#lengthMax) values.push(value);
    let at = values.length - 1;
    for (; at > 0 && this.#isBetter(value, values[at - 1]!); at--) values[at] = values[at - 1]!;
    values[at] = value;
  }

  /** Merges others in; they are not changed. */
  merge(other: RankedValues): void {
    const values = this.#values;
    // How many of ours and of theirs are among the best of both; on a tie it makes no difference whose.
    let ours = 0;
    let theirs = 0;
    while (ours + theirs < this.#lengthMax && (ours < values.length || theirs < other.#values.length)) {
      const ourTurn =
        theirs === other.#values.length ||
        (ours < values.length && !this.#isBetter(other.#values[theirs]!, values[ours]!));
      if (ourTurn) ours++;
      else theirs++;
    }
    while (values.length < ours + theirs) values.push(0);
    values.length = ours + theirs;
    // From the worst up, so that values are moved into places already read; the rest of ours is in place.
    for (let k = ours + theirs - 1; theirs > 0; k--) {
      if (ours > 0 && this.#isBetter(other.#values[theirs - 1]!, values[ours - 1]!))
        values[k] = values[--ours]!;
      else values[k] = other.#values[--theirs]!;
    }
  }

  /** Layout: varint n · n values, best first. */
  encode(w: ByteWriter): void {
    w.varint(this.#values.length);
    for (const value of this.#values) writeStoredValue(value, w);
  }

  /** Reads the encoded values that `into` takes in place of what is here, and goes past the others. */
  readFor(into: RankedValues, r: ByteReader, storage: ColumnStorage): void {
    const n = r.varint();
    if (n > this.#lengthMax)
      throw new CorruptBytesError(`${n} values where at most ${this.#lengthMax} are kept`);
    this.clear();
    for (let i = 0; i < n; i++) {
      const value = readStoredValue(r, storage) as number | bigint;
      if (into.takes(value)) {
        this.#values.push(value);
      } else {
        for (i++; i < n; i++) skipStoredValue(r, storage);
      }
    }
  }
}
