/**
 * Partials per value of a column: what an aggregation with a secondary key keeps.
 *
 * At most `max` values are kept: those with the least 53-bit hashes, whatever the order of arrival. A value among them in
 * a union is among them in every part it occurs in, so what is kept for it is complete; that others were left out is
 * marked, and is a function of the set as well. Rows whose value is null do not count.
 *
 * Layout: varint 2·n + truncated · n × (value, the inner states), ascending by hash.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { hash53 } from '../../hash64.ts';
import { pickRows, type RowBlock, storagesOf } from '../../tiles/row-block.ts';
import type { PartialAggregate, PartialColumn } from '../partial-aggregate.ts';
import { readStoredValue, type StoredValue, writeStoredValue } from '../stored-value.ts';

export interface Group {
  value: StoredValue;
  hash: number;
  /** In the order of the inner partials. */
  readonly states: readonly unknown[];
}

export class GroupedState {
  readonly #inner: readonly PartialAggregate[];
  readonly #max: number;
  #groups = new Map<StoredValue, Group>();
  /** Groups of before the last `clear`: a read makes no new ones as long as they last. */
  readonly #spare: Group[] = [];
  #largest: Group | null = null;
  #truncated = false;

  constructor(inner: readonly PartialAggregate[], max: number) {
    this.#inner = inner;
    this.#max = max;
  }

  get size(): number {
    return this.#groups.size;
  }

  /** Whether there were more values than are kept. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** In no particular order. */
  get groups(): Iterable<Group> {
    return this.#groups.values();
  }

  clear(): void {
    for (const group of this.#groups.values()) this.#putAside(group);
    // Never emptied: see `PartialAggregate.clear`.
    if (this.#groups.size > 0) this.#groups = new Map();
    this.#largest = null;
    this.#truncated = false;
  }

  markTruncated(): void {
    this.#truncated = true;
  }

  /** The group of a value, made where there is none; null: others are kept instead. */
  of(value: StoredValue): Group | null {
    const known = this.#groups.get(value);
    if (known !== undefined) return known;
    const hash = hash53(String(value));
    if (this.#groups.size === this.#max) {
      this.#truncated = true;
      const largest = this.#largestGroup();
      if (hash > largest.hash) return null;
      this.#groups.delete(largest.value);
      this.#putAside(largest);
      this.#largest = null;
    }
    const group = this.#spare.pop() ?? {
      value,
      hash,
      states: this.#inner.map((partial) => partial.create()),
    };
    group.value = value;
    group.hash = hash;
    this.#groups.set(value, group);
    if (this.#largest !== null && hash > this.#largest.hash) this.#largest = group;
    return group;
  }

  #largestGroup(): Group {
    if (this.#largest === null) {
      for (const group of this.#groups.values()) {
        if (this.#largest === null || group.hash > this.#largest.hash) this.#largest = group;
      }
    }
    return this.#largest!;
  }

  #putAside(group: Group): void {
    for (let p = 0; p < this.#inner.length; p++) this.#inner[p]!.clear(group.states[p]);
    this.#spare.push(group);
  }
}

/** A null: NaN stands for one in a column of numbers. */
const isNull = (value: StoredValue | null): value is null => value === null || Number.isNaN(value);

export function grouped(args: {
  readonly key: string;
  /** The column values are told apart by. */
  readonly by: PartialColumn;
  /** Values kept, 1 ≤ max. */
  readonly max: number;
  readonly inner: readonly PartialAggregate[];
}): PartialAggregate<GroupedState> {
  const { key, by, max, inner } = args;
  const ordered = inner.some((partial) => partial.ordered === true);

  function addRuns(state: GroupedState, rows: RowBlock, from: number, to: number): void {
    const values = rows.columns[by.column]!;
    for (let i = from; i < to; ) {
      const value = values[i]! as StoredValue | null;
      const start = i;
      do i++;
      while (i < to && values[i] === value);
      if (isNull(value)) continue;
      const group = state.of(value);
      if (group === null) continue;
      for (let p = 0; p < inner.length; p++) inner[p]!.addRows(group.states[p], rows, start, i);
    }
  }

  /** The rows of one value in one stretch each: see `conditional.ts`. */
  function addStretches(state: GroupedState, rows: RowBlock, from: number, to: number): void {
    const values = rows.columns[by.column]!;
    const chosen = new Map<StoredValue, number[]>();
    for (let i = from; i < to; i++) {
      const value = values[i]! as StoredValue | null;
      if (isNull(value)) continue;
      const sameValue = chosen.get(value);
      if (sameValue === undefined) chosen.set(value, [i]);
      else sameValue.push(i);
    }
    for (const [value, indices] of chosen) {
      const group = state.of(value);
      if (group === null) continue;
      const picked = pickRows(rows, indices, storagesOf(rows));
      for (let p = 0; p < inner.length; p++) inner[p]!.addRows(group.states[p], picked, 0, picked.length);
    }
  }

  /** Takes the states of values that are not kept, so that the reader gets past them. */
  const ignored = inner.map((partial) => partial.create());

  return {
    key,
    column: by.column,
    ...(ordered ? { ordered } : { wide: true }),
    ...(inner.some(({ boundedError }) => boundedError === true) ? { boundedError: true } : {}),
    create: () => new GroupedState(inner, max),
    clear: (state) => state.clear(),
    addRows: ordered ? addStretches : addRuns,
    absorb(state, r: ByteReader) {
      const header = r.varint();
      const n = Math.floor(header / 2);
      if (n > max) throw new CorruptBytesError(`${n} groups where ${max} are kept`);
      for (let g = 0; g < n; g++) {
        const group = state.of(readStoredValue(r, by.storage));
        for (let p = 0; p < inner.length; p++) {
          inner[p]!.absorb(group === null ? ignored[p] : group.states[p], r);
          if (group === null) inner[p]!.clear(ignored[p]);
        }
      }
      if (header % 2 === 1) state.markTruncated();
    },
    encode(state, w: ByteWriter) {
      const groups = [...state.groups].sort((a, b) => a.hash - b.hash);
      w.varint(2 * groups.length + (state.truncated ? 1 : 0));
      for (const { value, states } of groups) {
        writeStoredValue(value, w);
        for (let p = 0; p < inner.length; p++) inner[p]!.encode(states[p], w);
      }
    },
  };
}
