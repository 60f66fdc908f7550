/**
 * Partial `histogram(edges)`: how many non-null values lie between ascending edges. Bin 0 holds x < edges[0], bin i
 * holds edges[i − 1] ≤ x < edges[i], the last one x ≥ the last edge. JavaScript compares a bigint with a double by
 * their exact values, so longs fall where they belong.
 *
 * Encoded: the number of bins that are not empty; then, where they are fewer than half, for each the bins skipped
 * before it and its count, otherwise the count of every bin.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';
import { refuseText } from './refuse-text.ts';

export interface HistogramState {
  /** One more than there are edges. */
  readonly counts: Float64Array;
}

/** The bin of a value: how many edges are not above it. */
function binOf(value: number | bigint, edges: Float64Array): number {
  let low = 0;
  let high = edges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (edges[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const isSparse = (filled: number, bins: number): boolean => 2 * filled < bins;

function encode(counts: Float64Array, w: ByteWriter): void {
  let filled = 0;
  for (let bin = 0; bin < counts.length; bin++) if (counts[bin] !== 0) filled++;
  w.varint(filled);
  const sparse = isSparse(filled, counts.length);
  let skipped = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    const count = counts[bin]!;
    if (sparse && count === 0) {
      skipped++;
      continue;
    }
    if (sparse) w.varint(skipped);
    w.varint(count);
    skipped = 0;
  }
}

function absorb(counts: Float64Array, r: ByteReader): void {
  const bins = counts.length;
  const filled = r.varint();
  if (filled > bins) throw new CorruptBytesError(`${filled} bins where there are ${bins}`);
  if (!isSparse(filled, bins)) {
    for (let bin = 0; bin < bins; bin++) counts[bin]! += r.varint();
    return;
  }
  for (let i = 0, bin = 0; i < filled; i++, bin++) {
    bin += r.varint();
    if (bin >= bins) throw new CorruptBytesError(`a count for bin ${bin} where there are ${bins}`);
    counts[bin]! += r.varint();
  }
}

export const histogram: PartialFactory = ({
  key,
  column,
  storage,
  params,
}): PartialAggregate<HistogramState> => {
  refuseText(key, storage);
  const edges = Float64Array.from(params);
  return {
    key,
    column,
    wide: edges.length > NARROW_VALUES_MAX,
    create: () => ({ counts: new Float64Array(edges.length + 1) }),
    clear({ counts }) {
      counts.fill(0);
    },
    addRows({ counts }, rows, from, to) {
      const values = rows.columns[column] as Float64Array | readonly (number | bigint | null)[];
      for (let i = from; i < to; i++) {
        const value = values[i]!;
        if (value === null || Number.isNaN(value)) continue;
        counts[binOf(value, edges)]!++;
      }
    },
    absorb({ counts }, r) {
      absorb(counts, r);
    },
    encode({ counts }, w) {
      encode(counts, w);
    },
  };
};
