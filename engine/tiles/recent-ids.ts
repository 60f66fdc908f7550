/**
 * Ids of the events a state has taken within the dedupe horizon, in a field of their own: folding and expiry
 * of rows do not touch them.
 *
 *     ids := varint fromMs · varint newestMs + 1 (0: none) · rows without columns
 *            · varint m · m × (varint time, u32 hi, u32 lo, varint append time), ascending in append time
 *
 * The rows are complete for event times ≥ fromMs; an older event is looked for among the rows of the state itself.
 * fromMs is a dedupe horizon before the newest event. Where rows tell a repeat it is later if need be, so that the ids
 * stay few however dense the key: even later than the newest event, when there are too many in its millisecond alone.
 *
 * The last list holds events that were older than the horizon, or not far from it, when they came, for a while of append
 * time, as a repeat of a delivery comes soon after it. It is used where rows do not tell: where they can be merged for
 * good (lifetime windows, coarsening), and where an event is known by a stamp and not by an id of its own.
 */
import type { ByteReader, ByteWriter } from '../bytes.ts';
import type { EventId } from '../event-id.ts';
import { allocateRows, decodeRows, encodeRows } from './row-block.ts';

/** Late ids kept at most: the newest by append time. */
const LATE_MAX = 1024;

/** After so many questions an index pays. */
const SCANS_MAX = 8;

interface LateId {
  readonly timeMs: number;
  readonly hi: number;
  readonly lo: number;
  readonly appendedMs: number;
}

export class RecentIds {
  #fromMs: number;
  #newestMs: number;
  #times: number[] = [];
  #hi: number[] = [];
  #lo: number[] = [];
  #late: LateId[] = [];
  /** Low half → indexes of the ids with it; made once many are asked for. */
  #byLo: Map<number, number[]> | null = null;
  /** Low halves of the late ids; made likewise. */
  #lateLo: Set<number> | null = null;
  #asked = 0;

  private constructor(fromMs: number, newestMs: number) {
    this.#fromMs = fromMs;
    this.#newestMs = newestMs;
  }

  static empty(): RecentIds {
    return new RecentIds(0, -1);
  }

  static decode(r: ByteReader): RecentIds {
    const ids = new RecentIds(r.varint(), r.varint() - 1);
    const { times, idHi, idLo } = decodeRows(r, []);
    ids.#times = Array.from(times);
    ids.#hi = Array.from(idHi);
    ids.#lo = Array.from(idLo);
    const m = r.varint();
    for (let i = 0; i < m; i++) {
      ids.#late.push({ timeMs: r.varint(), hi: r.u32(), lo: r.u32(), appendedMs: r.varint() });
    }
    return ids;
  }

  /** Ids with a time before this are forgotten. */
  get fromMs(): number {
    return this.#fromMs;
  }

  /** Newest event time that was ever added, also where its id is forgotten; −1 when there is none. */
  get newestMs(): number {
    return this.#newestMs;
  }

  get length(): number {
    return this.#times.length;
  }

  /** Whether an event with this id and |Δ event time| ≤ horizonMs was taken. A read asks once: then a scan is cheaper. */
  has(id: EventId, timeMs: number, horizonMs: number): boolean {
    if (++this.#asked <= SCANS_MAX) {
      for (let i = 0; i < this.#lo.length; i++) {
        if (this.#lo[i] === id.lo && this.#isAt(i, id, timeMs, horizonMs)) return true;
      }
    } else if (
      this.#indexed()
        .get(id.lo)
        ?.some((i) => this.#isAt(i, id, timeMs, horizonMs))
    ) {
      return true;
    }
    if (this.#asked > SCANS_MAX) {
      this.#lateLo ??= new Set(this.#late.map(({ lo }) => lo));
      if (!this.#lateLo.has(id.lo)) return false;
    }
    return this.#late.some(
      (late) => late.lo === id.lo && late.hi === id.hi && Math.abs(late.timeMs - timeMs) <= horizonMs,
    );
  }

  #isAt(i: number, id: EventId, timeMs: number, horizonMs: number): boolean {
    return this.#hi[i] === id.hi && Math.abs(this.#times[i]! - timeMs) <= horizonMs;
  }

  #indexed(): Map<number, number[]> {
    if (this.#byLo !== null) return this.#byLo;
    const byLo = new Map<number, number[]>();
    for (let i = 0; i < this.#lo.length; i++) addTo(byLo, this.#lo[i]!, i);
    this.#byLo = byLo;
    return byLo;
  }

  add(id: EventId, timeMs: number): void {
    if (this.#byLo !== null) addTo(this.#byLo, id.lo, this.#lo.length);
    this.#times.push(timeMs);
    this.#hi.push(id.hi);
    this.#lo.push(id.lo);
    this.#newestMs = Math.max(this.#newestMs, timeMs);
  }

  /** Remembers an id by its append time: for events older than `fromMs`. */
  addLate(id: EventId, timeMs: number, appendedMs: number): void {
    this.#late.push({ timeMs, hi: id.hi, lo: id.lo, appendedMs });
    this.#lateLo?.add(id.lo);
  }

  /**
   * Forgets ids with time < newest − horizonMs, and late ones appended more than 2 · horizonMs before
   * `appendedMs`, the append time of the oldest record at hand.
   * @param idsMax ids to keep at most, the newest, each millisecond whole or not at all; those forgotten for it must be
   *   told by their rows
   */
  prune(horizonMs: number, appendedMs: number, idsMax: number): void {
    if (this.#late.length > 0) this.#pruneLate(horizonMs, appendedMs);
    this.#forgetBefore(this.#newestMs - horizonMs);
    const surplus = this.#times.length - idsMax;
    if (surplus > 0) this.#forgetBefore(Float64Array.from(this.#times).sort()[surplus - 1]! + 1);
  }

  #forgetBefore(fromMs: number): void {
    if (fromMs <= this.#fromMs) return;
    this.#fromMs = fromMs;
    if (!this.#times.some((timeMs) => timeMs < fromMs)) return;
    this.#byLo = null;
    const kept = [...this.#times.keys()].filter((i) => this.#times[i]! >= fromMs);
    this.#times = kept.map((i) => this.#times[i]!);
    this.#hi = kept.map((i) => this.#hi[i]!);
    this.#lo = kept.map((i) => this.#lo[i]!);
  }

  #pruneLate(horizonMs: number, appendedMs: number): void {
    this.#lateLo = null;
    this.#late = this.#late
      .filter((late) => late.appendedMs >= appendedMs - 2 * horizonMs)
      .sort((a, b) => a.appendedMs - b.appendedMs || a.timeMs - b.timeMs || a.hi - b.hi || a.lo - b.lo)
      .slice(-LATE_MAX);
  }

  #compare(i: number, j: number): number {
    return this.#times[i]! - this.#times[j]! || this.#hi[i]! - this.#hi[j]! || this.#lo[i]! - this.#lo[j]!;
  }

  encode(w: ByteWriter): void {
    const order = [...this.#times.keys()];
    // Events mostly come in order.
    if (order.some((i) => i > 0 && this.#compare(i - 1, i) > 0)) order.sort((i, j) => this.#compare(i, j));
    w.varint(this.#fromMs);
    w.varint(this.#newestMs + 1);
    const rows = allocateRows(order.length, []);
    order.forEach((i, k) => {
      rows.times[k] = this.#times[i]!;
      rows.idHi[k] = this.#hi[i]!;
      rows.idLo[k] = this.#lo[i]!;
    });
    encodeRows(rows, [], w);
    w.varint(this.#late.length);
    for (const { timeMs, hi, lo, appendedMs } of this.#late) {
      w.varint(timeMs);
      w.u32(hi);
      w.u32(lo);
      w.varint(appendedMs);
    }
  }
}

function addTo(byLo: Map<number, number[]>, lo: number, i: number): void {
  const indexes = byLo.get(lo);
  if (indexes === undefined) byLo.set(lo, [i]);
  else indexes.push(i);
}
