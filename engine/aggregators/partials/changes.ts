/**
 * Partial `changes`: how often a non-null value differs from the one before it, in the total order of C3. Keeps the
 * first and the last row with a value, so that a change at the seam of two parts is seen.
 *
 * Ordered: what is added lies wholly before or wholly behind what is there. Where it does not (late rows of a tile
 * whose rows are gone) the parts' own changes are added up and no seam is counted: still the same answer for the same
 * parts, with the outermost first and last.
 *
 * Encoded: u8 rows kept, 0 to 2 · if any: the first row · if 2: varint changes · the last row.
 * A row: varint time · u32 idHi · u32 idLo · stored value; the last row's time less that of the first.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import type { ColumnStorage, RowBlock } from '../../tiles/row-block.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import { readStoredValue, type StoredValue, writeStoredValue } from '../stored-value.ts';

class EndRow {
  timeMs = 0;
  idHi = 0;
  idLo = 0;
  value: StoredValue = 0;

  set(rows: RowBlock, i: number, value: StoredValue): void {
    this.timeMs = rows.times[i]!;
    this.idHi = rows.idHi[i]!;
    this.idLo = rows.idLo[i]!;
    this.value = value;
  }

  copyFrom(other: EndRow): void {
    this.timeMs = other.timeMs;
    this.idHi = other.idHi;
    this.idLo = other.idLo;
    this.value = other.value;
  }

  isBehind(other: EndRow): boolean {
    return (this.timeMs - other.timeMs || this.idHi - other.idHi || this.idLo - other.idLo) > 0;
  }

  encode(w: ByteWriter, sinceMs: number): void {
    w.varint(this.timeMs - sinceMs);
    w.u32(this.idHi);
    w.u32(this.idLo);
    writeStoredValue(this.value, w);
  }

  read(r: ByteReader, sinceMs: number, storage: ColumnStorage): void {
    this.timeMs = sinceMs + r.varint();
    this.idHi = r.u32();
    this.idLo = r.u32();
    this.value = readStoredValue(r, storage);
  }
}

export class Changes {
  count = 0;
  #empty = true;
  readonly #first = new EndRow();
  readonly #last = new EndRow();

  clear(): void {
    this.count = 0;
    this.#empty = true;
  }

  /** In place of what is here: the non-null values of rows `from ≤ i < to`. */
  readRows(rows: RowBlock, values: ArrayLike<StoredValue | null>, from: number, to: number): void {
    this.clear();
    let lastAt = -1;
    let lastValue: StoredValue = 0;
    for (let i = from; i < to; i++) {
      const value = values[i]!;
      if (value === null || Number.isNaN(value)) continue;
      if (lastAt === -1) this.#first.set(rows, i, value);
      else if (value !== lastValue) this.count++;
      lastAt = i;
      lastValue = value;
    }
    if (lastAt === -1) return;
    this.#empty = false;
    this.#last.set(rows, lastAt, lastValue);
  }

  /** Joins what another has; it is not changed. */
  join(other: Changes): void {
    if (other.#empty) return;
    if (this.#empty) {
      this.#empty = false;
      this.#first.copyFrom(other.#first);
      this.#last.copyFrom(other.#last);
    } else if (other.#first.isBehind(this.#last)) {
      if (other.#first.value !== this.#last.value) this.count++;
      this.#last.copyFrom(other.#last);
    } else if (this.#first.isBehind(other.#last)) {
      if (this.#first.value !== other.#last.value) this.count++;
      this.#first.copyFrom(other.#first);
    } else {
      if (this.#first.isBehind(other.#first)) this.#first.copyFrom(other.#first);
      if (other.#last.isBehind(this.#last)) this.#last.copyFrom(other.#last);
    }
    this.count += other.count;
  }

  encode(w: ByteWriter): void {
    const rows = this.#empty ? 0 : this.#last.isBehind(this.#first) ? 2 : 1;
    w.u8(rows);
    if (rows > 0) this.#first.encode(w, 0);
    if (rows < 2) return;
    w.varint(this.count);
    this.#last.encode(w, this.#first.timeMs);
  }

  /** Reads what `encode` wrote in place of what is here. */
  read(r: ByteReader, storage: ColumnStorage): void {
    this.clear();
    const rows = r.u8();
    if (rows > 2) throw new CorruptBytesError(`${rows} rows where changes keep at most 2`);
    if (rows === 0) return;
    this.#empty = false;
    this.#first.read(r, 0, storage);
    if (rows === 1) {
      this.#last.copyFrom(this.#first);
      return;
    }
    this.count = r.varint();
    this.#last.read(r, this.#first.timeMs, storage);
  }
}

/** Rows on their way into a state; used within one call only. */
const incoming = new Changes();

export const changes: PartialFactory = ({ key, column, storage }): PartialAggregate<Changes> => ({
  ordered: true,
  key,
  column,
  create: () => new Changes(),
  clear(state) {
    state.clear();
  },
  addRows(state, rows, from, to) {
    incoming.readRows(rows, rows.columns[column] as ArrayLike<StoredValue | null>, from, to);
    state.join(incoming);
  },
  absorb(state, r) {
    incoming.read(r, storage);
    state.join(incoming);
  },
  encode(state, w) {
    state.encode(w);
  },
});
