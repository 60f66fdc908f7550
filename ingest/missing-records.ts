/**
 * The records of one partition that were gone before they were applied. Several lanes, and one lane that opens again,
 * find the same ones; they are told once.
 */
interface OffsetRange {
  readonly fromOffset: number;
  /** Exclusive. */
  readonly toOffset: number;
}

export class MissingRecords {
  /** Ascending, apart from each other. */
  #known: OffsetRange[] = [];

  /** Adds offsets; returns those of them that were not known, ascending. */
  add(fromOffset: number, toOffset: number): OffsetRange[] {
    const fresh: OffsetRange[] = [];
    let at = fromOffset;
    let range: OffsetRange = { fromOffset, toOffset };
    const apart: OffsetRange[] = [];
    for (const known of this.#known) {
      if (known.toOffset < fromOffset || known.fromOffset > toOffset) {
        apart.push(known);
        continue;
      }
      if (at < known.fromOffset) fresh.push({ fromOffset: at, toOffset: known.fromOffset });
      at = Math.max(at, known.toOffset);
      range = {
        fromOffset: Math.min(range.fromOffset, known.fromOffset),
        toOffset: Math.max(range.toOffset, known.toOffset),
      };
    }
    if (at < toOffset) fresh.push({ fromOffset: at, toOffset });
    this.#known = [...apart, range].sort((a, b) => a.fromOffset - b.fromOffset);
    return fresh;
  }
}
