/**
 * Which records below a watermark were *not* applied: dead letters, and what was gone from the log. A copy of one of
 * these, replayed after a fix, still counts; a copy of any other record does not.
 *
 *     unapplied := varint fromOffset · varint n, n × (varint first − end of the one before, varint length)
 *
 * Known from `fromOffset` on: of more than `RANGES_MAX` ranges the oldest are forgotten. Immutable.
 */
import type { ByteReader, ByteWriter } from '../bytes.ts';

/** Less than 1 kB in a watermark, which is written with every chunk and looked at twice a second. */
const RANGES_MAX = 256;

/** firstOffset ≤ offset < endOffset */
type Range = readonly [firstOffset: number, endOffset: number];

export class UnappliedOffsets {
  readonly #fromOffset: number;
  /** Ascending, with offsets between them that were applied. */
  readonly #ranges: readonly Range[];

  private constructor(fromOffset: number, ranges: readonly Range[]) {
    this.#fromOffset = fromOffset;
    this.#ranges = ranges;
  }

  /** Everything below was applied. */
  static readonly NONE = new UnappliedOffsets(0, []);

  /** Nothing is known of what lies below. */
  static unknownBefore(offset: number): UnappliedOffsets {
    return new UnappliedOffsets(offset, []);
  }

  /** @param ranges [first offset, end): what was not applied from `fromOffset` on, in any order */
  static of(fromOffset: number, ranges: readonly Range[]): UnappliedOffsets {
    return new UnappliedOffsets(fromOffset, []).changed({ added: ranges, removed: new Set() });
  }

  /** Nothing is known of what lies below. */
  get fromOffset(): number {
    return this.#fromOffset;
  }

  /** Ascending, [first offset, end). */
  get ranges(): readonly Range[] {
    return this.#ranges;
  }

  /** Whether the record below the watermark was applied; null: nobody remembers. */
  isApplied(offset: number): boolean | null {
    if (offset < this.#fromOffset) return null;
    return !this.#ranges.some(([first, end]) => first <= offset && offset < end);
  }

  /** With what was not applied added, and what was made good taken out. */
  changed(args: {
    readonly added: readonly Range[];
    readonly removed: ReadonlySet<number>;
  }): UnappliedOffsets {
    const { added, removed } = args;
    if (added.length === 0 && removed.size === 0) return this;
    const ranges: [number, number][] = [];
    for (const [first, end] of [...this.#ranges, ...added].sort((a, b) => a[0] - b[0])) {
      const last = ranges.at(-1);
      if (last !== undefined && first <= last[1]) last[1] = Math.max(last[1], end);
      else ranges.push([first, end]);
    }
    const cuts = [...removed].sort((a, b) => a - b);
    const left = cuts.length === 0 ? ranges : withoutCuts(ranges, cuts);
    const forgotten = left.length - RANGES_MAX;
    if (forgotten <= 0) return new UnappliedOffsets(this.#fromOffset, left);
    return new UnappliedOffsets(left[forgotten - 1]![1], left.slice(forgotten));
  }

  encode(w: ByteWriter): void {
    w.varint(this.#fromOffset);
    w.varint(this.#ranges.length);
    let previous = 0;
    for (const [first, end] of this.#ranges) {
      w.varint(first - previous);
      w.varint(end - first);
      previous = end;
    }
  }

  static decode(r: ByteReader): UnappliedOffsets {
    const fromOffset = r.varint();
    const ranges: Range[] = [];
    let previous = 0;
    for (let n = r.varint(); n > 0; n--) {
      const first = previous + r.varint();
      previous = first + r.varint();
      ranges.push([first, previous]);
    }
    return new UnappliedOffsets(fromOffset, ranges);
  }
}

/** Both ascending. */
function withoutCuts(ranges: readonly Range[], cuts: readonly number[]): Range[] {
  const left: Range[] = [];
  let next = 0;
  for (const [first, end] of ranges) {
    let from = first;
    while (next < cuts.length && cuts[next]! < first) next++;
    for (; next < cuts.length && cuts[next]! < end; next++) {
      if (cuts[next]! > from) left.push([from, cuts[next]!]);
      from = cuts[next]! + 1;
    }
    if (from < end) left.push([from, end]);
  }
  return left;
}
