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
import { allocateRows, decodeRows, emptyRows, encodeRows, lowerBound, type RowBlock } from './row-block.ts';

/** Late ids kept at most: the newest by append time. */
const LATE_MAX = 1024;

/** After so many questions an index pays. */
const SCANS_MAX = 8;

/** Room made for ids at a time, at least. */
const ROOM_MIN = 8;

const NO_ROWS = emptyRows([]);

interface LateId {
  readonly timeMs: number;
  readonly hi: number;
  readonly lo: number;
  readonly appendedMs: number;
}

export class RecentIds {
  #fromMs: number;
  #newestMs: number;
  /** Ascending in (time, hi, lo), `#length` of them; behind these there may be room for more. */
  #rows: RowBlock;
  #length: number;
  #late: LateId[] = [];
  /** Low halves of all ids, perhaps of forgotten ones as well; made once many are asked for. */
  #lows: Set<number> | null = null;
  /** Low halves of the late ids; made likewise. */
  #lateLows: Set<number> | null = null;
  #asked = 0;

  private constructor(fromMs: number, newestMs: number, rows: RowBlock) {
    this.#fromMs = fromMs;
    this.#newestMs = newestMs;
    this.#rows = rows;
    this.#length = rows.length;
  }

  static empty(): RecentIds {
    return new RecentIds(0, -1, NO_ROWS);
  }

  static decode(r: ByteReader): RecentIds {
    const fromMs = r.varint();
    const newestMs = r.varint() - 1;
    const ids = new RecentIds(fromMs, newestMs, decodeRows(r, []));
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
    return this.#length;
  }

  /** Whether an event with this id and |Δ event time| ≤ horizonMs was taken. A read asks once: then a scan is cheaper. */
  has(id: EventId, timeMs: number, horizonMs: number): boolean {
    const many = ++this.#asked > SCANS_MAX;
    if (many) {
      this.#lows ??= new Set(this.#rows.idLo.subarray(0, this.#length));
      this.#lateLows ??= new Set(this.#late.map(({ lo }) => lo));
    }
    if (!many || this.#lows!.has(id.lo)) {
      const { times, idHi, idLo } = this.#rows;
      for (let i = 0; i < this.#length; i++) {
        if (idLo[i] === id.lo && idHi[i] === id.hi && Math.abs(times[i]! - timeMs) <= horizonMs) return true;
      }
    }
    if (many && !this.#lateLows!.has(id.lo)) return false;
    return this.#late.some(
      (late) => late.lo === id.lo && late.hi === id.hi && Math.abs(late.timeMs - timeMs) <= horizonMs,
    );
  }

  add(id: EventId, timeMs: number): void {
    if (this.#length === this.#rows.times.length) this.#grow();
    const { times, idHi, idLo } = this.#rows;
    // Events mostly come in order: then this is the last place at once.
    let i = this.#length++;
    for (; i > 0 && (times[i - 1]! - timeMs || idHi[i - 1]! - id.hi || idLo[i - 1]! - id.lo) > 0; i--) {
      times[i] = times[i - 1]!;
      idHi[i] = idHi[i - 1]!;
      idLo[i] = idLo[i - 1]!;
    }
    times[i] = timeMs;
    idHi[i] = id.hi;
    idLo[i] = id.lo;
    this.#lows?.add(id.lo);
    this.#newestMs = Math.max(this.#newestMs, timeMs);
  }

  /** Remembers an id by its append time: for events older than `fromMs`. */
  addLate(id: EventId, timeMs: number, appendedMs: number): void {
    this.#late.push({ timeMs, hi: id.hi, lo: id.lo, appendedMs });
    this.#lateLows?.add(id.lo);
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
    const surplus = this.#length - idsMax;
    if (surplus > 0) this.#forgetBefore(this.#rows.times[surplus - 1]! + 1);
  }

  encode(w: ByteWriter): void {
    w.varint(this.#fromMs);
    w.varint(this.#newestMs + 1);
    encodeRows(this.#from(0), [], w);
    w.varint(this.#late.length);
    for (const { timeMs, hi, lo, appendedMs } of this.#late) {
      w.varint(timeMs);
      w.u32(hi);
      w.u32(lo);
      w.varint(appendedMs);
    }
  }

  /** The ids from index `from` on, without the room behind them. */
  #from(from: number): RowBlock {
    const { times, idHi, idLo } = this.#rows;
    if (from === 0 && this.#length === times.length) return this.#rows;
    return {
      length: this.#length - from,
      times: times.subarray(from, this.#length),
      idHi: idHi.subarray(from, this.#length),
      idLo: idLo.subarray(from, this.#length),
      columns: [],
    };
  }

  #grow(): void {
    const { times, idHi, idLo } = this.#rows;
    const rows = allocateRows(this.#length + Math.max(ROOM_MIN, this.#length >>> 2), []);
    rows.times.set(times);
    rows.idHi.set(idHi);
    rows.idLo.set(idLo);
    this.#rows = rows;
  }

  #forgetBefore(fromMs: number): void {
    if (fromMs <= this.#fromMs) return;
    this.#fromMs = fromMs;
    const first = lowerBound(this.#from(0), fromMs);
    if (first === 0) return;
    this.#rows = this.#from(first);
    this.#length = this.#rows.length;
  }

  #pruneLate(horizonMs: number, appendedMs: number): void {
    this.#lateLows = null;
    this.#late = this.#late
      .filter((late) => late.appendedMs >= appendedMs - 2 * horizonMs)
      .sort((a, b) => a.appendedMs - b.appendedMs || a.timeMs - b.timeMs || a.hi - b.hi || a.lo - b.lo)
      .slice(-LATE_MAX);
  }
}
