/**
 * A few rows of one column, ascending in the total order of C3 (event time, then id), which no two rows share:
 * the state of `first_n` and `last_n`, and of whatever else needs to know what came before what.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage, RowBlock } from '../tiles/row-block.ts';
import { readStoredValue, type StoredValue, skipStoredValue, writeStoredValue } from './stored-value.ts';

export class OrderedRows {
  readonly #times: number[] = [];
  readonly #idHi: number[] = [];
  readonly #idLo: number[] = [];
  readonly #values: StoredValue[] = [];

  get length(): number {
    return this.#times.length;
  }

  /** Oldest first. */
  get values(): readonly StoredValue[] {
    return this.#values;
  }

  clear(): void {
    this.truncate(0);
  }

  /** Keeps the oldest `length` rows. */
  truncate(length: number): void {
    if (length >= this.length) return;
    this.#times.length = length;
    this.#idHi.length = length;
    this.#idLo.length = length;
    this.#values.length = length;
  }

  /** Drops the oldest `count` rows. */
  dropFirst(count: number): void {
    if (count <= 0) return;
    for (let from = count, to = 0; from < this.length; from++, to++) this.#move(this, from, to);
    this.truncate(this.length - count);
  }

  /** Keeps the oldest row of each value. @param met an empty set, filled with the values */
  keepFirstOfEach(met: Set<StoredValue>): void {
    let kept = 0;
    for (let i = 0; i < this.length; i++) {
      const value = this.#values[i]!;
      if (met.has(value)) continue;
      met.add(value);
      this.#move(this, i, kept++);
    }
    this.truncate(kept);
  }

  /** Keeps the newest row of each value. @param met an empty set, filled with the values */
  keepLastOfEach(met: Set<StoredValue>): void {
    let start = this.length;
    for (let i = this.length - 1; i >= 0; i--) {
      const value = this.#values[i]!;
      if (met.has(value)) continue;
      met.add(value);
      this.#move(this, i, --start);
    }
    this.dropFirst(start);
  }

  /** Appends a row that comes after all that are here. */
  push(rows: RowBlock, i: number, value: StoredValue): void {
    this.#times.push(rows.times[i]!);
    this.#idHi.push(rows.idHi[i]!);
    this.#idLo.push(rows.idLo[i]!);
    this.#values.push(value);
  }

  /** Negative, 0 or positive as row `i` comes before, is or comes after row `j` of `rows`. */
  compareToBlock(i: number, rows: RowBlock, j: number): number {
    return (
      this.#times[i]! - rows.times[j]! || this.#idHi[i]! - rows.idHi[j]! || this.#idLo[i]! - rows.idLo[j]!
    );
  }

  compare(i: number, other: OrderedRows, j: number): number {
    return (
      this.#times[i]! - other.#times[j]! ||
      this.#idHi[i]! - other.#idHi[j]! ||
      this.#idLo[i]! - other.#idLo[j]!
    );
  }

  #move(from: OrderedRows, i: number, j: number): void {
    this.#times[j] = from.#times[i]!;
    this.#idHi[j] = from.#idHi[i]!;
    this.#idLo[j] = from.#idLo[i]!;
    this.#values[j] = from.#values[i]!;
  }

  /** Merges other rows in; they are not changed. */
  merge(other: OrderedRows): void {
    let i = this.length - 1;
    let j = other.length - 1;
    for (let k = 0; k <= j; k++) {
      this.#times.push(0);
      this.#idHi.push(0);
      this.#idLo.push(0);
      this.#values.push(0);
    }
    // From the newest down, so that rows are moved into places already read; the rest of ours is in place.
    for (let k = this.length - 1; j >= 0; k--) {
      if (i >= 0 && this.compare(i, other, j) > 0) this.#move(this, i--, k);
      else this.#move(other, j--, k);
    }
  }

  /** Layout: varint n · n × varint time delta · n × (u32 idHi, u32 idLo) · n values. */
  encode(w: ByteWriter): void {
    const n = this.length;
    w.varint(n);
    let previousMs = 0;
    for (let i = 0; i < n; i++) {
      w.varint(this.#times[i]! - previousMs);
      previousMs = this.#times[i]!;
    }
    for (let i = 0; i < n; i++) {
      w.u32(this.#idHi[i]!);
      w.u32(this.#idLo[i]!);
    }
    for (let i = 0; i < n; i++) writeStoredValue(this.#values[i]!, w);
  }

  /** Reads times and ids of encoded rows in place of what is here; `readValues` has to follow. */
  readKeys(r: ByteReader, lengthMax: number): void {
    const n = r.varint();
    if (n > lengthMax) throw new CorruptBytesError(`${n} rows where at most ${lengthMax} are kept`);
    this.clear();
    let timeMs = 0;
    for (let i = 0; i < n; i++) {
      timeMs += r.varint();
      this.#times.push(timeMs);
    }
    for (let i = 0; i < n; i++) {
      this.#idHi.push(r.u32());
      this.#idLo.push(r.u32());
    }
  }

  /** Reads the values of rows `from ≤ i < to`, goes past the others, and keeps only those rows. */
  readValues(r: ByteReader, storage: ColumnStorage, from: number, to: number): void {
    const n = this.length;
    this.#values.length = 0;
    for (let i = 0; i < n; i++) {
      if (i >= from && i < to) {
        this.#values.push(readStoredValue(r, storage));
      } else {
        skipStoredValue(r, storage);
        this.#values.push(0);
      }
    }
    this.truncate(to);
    this.dropFirst(from);
  }
}
