/**
 * The n best rows by a number of theirs, best first: the state of `max_by_n` and `min_by_n`. Rows rank by
 * (that number, event time, id), an order that no two rows share, so ties are always decided: `greatest` takes the
 * rows from its upper end, the newer of two equal ones first; `least` from its lower end, the older one first.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage, RowBlock } from '../tiles/row-block.ts';
import { readStoredValue, type StoredValue, skipStoredValue, writeStoredValue } from './stored-value.ts';

export type End = 'greatest' | 'least';

/** Times are below 2⁴⁵; ids are compared by halves. */
export class RankedRows {
  readonly #greatest: boolean;
  readonly #lengthMax: number;
  readonly #by: (number | bigint)[] = [];
  readonly #times: number[] = [];
  readonly #idHi: number[] = [];
  readonly #idLo: number[] = [];
  readonly #values: StoredValue[] = [];

  constructor(end: End, lengthMax: number) {
    this.#greatest = end === 'greatest';
    this.#lengthMax = lengthMax;
  }

  /** Values of the rows, best first. */
  get values(): readonly StoredValue[] {
    return this.#values;
  }

  clear(): void {
    this.#truncate(0);
  }

  #truncate(length: number): void {
    this.#by.length = length;
    this.#times.length = length;
    this.#idHi.length = length;
    this.#idLo.length = length;
    this.#values.length = length;
  }

  #push(): void {
    this.#by.push(0);
    this.#times.push(0);
    this.#idHi.push(0);
    this.#idLo.push(0);
    this.#values.push(0);
  }

  #move(from: RankedRows, i: number, j: number): void {
    this.#by[j] = from.#by[i]!;
    this.#times[j] = from.#times[i]!;
    this.#idHi[j] = from.#idHi[i]!;
    this.#idLo[j] = from.#idLo[i]!;
    this.#values[j] = from.#values[i]!;
  }

  /** Whether row `i` of a block, with `by` there, comes before our row `j`. */
  #isBlockRowBetter(by: number | bigint, rows: RowBlock, i: number, j: number): boolean {
    const ours = this.#by[j]!;
    if (by > ours) return this.#greatest;
    if (by < ours) return !this.#greatest;
    const later =
      rows.times[i]! - this.#times[j]! || rows.idHi[i]! - this.#idHi[j]! || rows.idLo[i]! - this.#idLo[j]!;
    return this.#greatest ? later > 0 : later < 0;
  }

  #isBetter(i: number, other: RankedRows, j: number): boolean {
    const a = this.#by[i]!;
    const b = other.#by[j]!;
    if (a > b) return this.#greatest;
    if (a < b) return !this.#greatest;
    const later =
      this.#times[i]! - other.#times[j]! ||
      this.#idHi[i]! - other.#idHi[j]! ||
      this.#idLo[i]! - other.#idLo[j]!;
    return this.#greatest ? later > 0 : later < 0;
  }

  /** Adds row `i` of a block where it is among the best; the worst falls out where there are too many. */
  add(rows: RowBlock, i: number, by: number | bigint, value: StoredValue): void {
    const { length } = this.#by;
    if (length === this.#lengthMax) {
      if (!this.#isBlockRowBetter(by, rows, i, length - 1)) return;
    } else {
      this.#push();
    }
    let at = this.#by.length - 1;
    for (; at > 0 && this.#isBlockRowBetter(by, rows, i, at - 1); at--) this.#move(this, at - 1, at);
    this.#by[at] = by;
    this.#times[at] = rows.times[i]!;
    this.#idHi[at] = rows.idHi[i]!;
    this.#idLo[at] = rows.idLo[i]!;
    this.#values[at] = value;
  }

  /** Merges other rows in, none of which is here; they are not changed. */
  merge(other: RankedRows): void {
    // How many of ours and of theirs are among the best of both.
    let ours = 0;
    let theirs = 0;
    while (ours + theirs < this.#lengthMax && (ours < this.#by.length || theirs < other.#by.length)) {
      const ourTurn =
        theirs === other.#by.length || (ours < this.#by.length && this.#isBetter(ours, other, theirs));
      if (ourTurn) ours++;
      else theirs++;
    }
    while (this.#by.length < ours + theirs) this.#push();
    this.#truncate(ours + theirs);
    // From the worst up, so that rows are moved into places already read; the rest of ours is in place.
    for (let k = ours + theirs - 1; theirs > 0; k--) {
      if (ours > 0 && other.#isBetter(theirs - 1, this, ours - 1)) this.#move(this, --ours, k);
      else this.#move(other, --theirs, k);
    }
  }

  /** Layout: varint n · n × `by` · n × zigzag time delta · n × (u32 idHi, u32 idLo) · n values; best first. */
  encode(w: ByteWriter): void {
    const n = this.#by.length;
    w.varint(n);
    for (let i = 0; i < n; i++) writeStoredValue(this.#by[i]!, w);
    let previousMs = 0;
    for (let i = 0; i < n; i++) {
      w.zigzag(this.#times[i]! - previousMs);
      previousMs = this.#times[i]!;
    }
    for (let i = 0; i < n; i++) {
      w.u32(this.#idHi[i]!);
      w.u32(this.#idLo[i]!);
    }
    for (let i = 0; i < n; i++) writeStoredValue(this.#values[i]!, w);
  }

  /** Reads the encoded rows that `into` has room for in place of what is here, and goes past the others. */
  readFor(into: RankedRows, r: ByteReader, byStorage: ColumnStorage, valueStorage: ColumnStorage): void {
    const n = r.varint();
    if (n > this.#lengthMax)
      throw new CorruptBytesError(`${n} rows where at most ${this.#lengthMax} are kept`);
    this.clear();
    for (let i = 0; i < n; i++) this.#by.push(readStoredValue(r, byStorage) as number | bigint);
    let timeMs = 0;
    for (let i = 0; i < n; i++) {
      timeMs += r.zigzag();
      this.#times.push(timeMs);
    }
    for (let i = 0; i < n; i++) {
      this.#idHi.push(r.u32());
      this.#idLo.push(r.u32());
    }
    let useful = n;
    if (into.#by.length === this.#lengthMax) {
      while (useful > 0 && !this.#isBetter(useful - 1, into, this.#lengthMax - 1)) useful--;
    }
    for (let i = 0; i < useful; i++) this.#values.push(readStoredValue(r, valueStorage));
    for (let i = useful; i < n; i++) skipStoredValue(r, valueStorage);
    this.#truncate(useful);
  }
}
