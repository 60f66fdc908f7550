/**
 * Features of one view as of the rows of a spine, from batches of the as-of stream: the definition's own filter and
 * projections, the engine's own windows and aggregates. An event is appended to its key's history when the stream comes to
 * it, so that no later one can be seen by a row.
 *
 * Pure: no I/O, the same batches give the same values.
 */
import type { CompiledFeature, CompiledView } from '../engine/definitions/compiled.ts';
import { narrowedView } from '../engine/definitions/narrowed-view.ts';
import { ProjectionError } from '../engine/definitions/projection-error.ts';
import { compareEventIds, type EventId, integerEventId, textEventId } from '../engine/event-id.ts';
import { KeyHistory } from '../engine/tiles/key-history.ts';
import { rowsReachMs } from '../engine/windows/window-reach.ts';
import { WindowRead } from '../engine/windows/window-read.ts';
import type { AsOfBatch, EvaluatedRows } from './as-of-batch.ts';
import { type TransportColumn, transportOf } from './feature-transport.ts';
import { FetchedRow } from './fetched-row.ts';

/** Of an event alone in its millisecond: nothing is compared with it. */
const ANY_ID: EventId = { hi: 0, lo: 0 };
/** Behind every event of its millisecond. */
const LAST_ID: EventId = { hi: 0xffff_ffff, lo: 0xffff_ffff };
const TWO_32 = 2 ** 32;

export class ViewEvaluator {
  readonly #view: CompiledView;
  readonly #index: ReadonlyMap<CompiledFeature, number>;
  readonly #transports: readonly TransportColumn[];
  readonly #read: WindowRead;
  readonly #history: KeyHistory;
  readonly #row: FetchedRow;
  #key = -1;

  /** @param fetched names of the source's columns in a batch, in their order */
  constructor(whole: CompiledView, chosen: readonly CompiledFeature[], fetched: readonly string[]) {
    const view = narrowedView(whole, chosen);
    const { features } = view;
    this.#view = view;
    this.#index = new Map(features.map((feature, i) => [feature, i]));
    this.#transports = features.map(transportOf);
    this.#read = new WindowRead(view, features);
    this.#history = new KeyHistory(view, rowsReachMs(features.map(({ window }) => window)));
    this.#row = new FetchedRow(view, fetched);
  }

  /**
   * Values of the batch's spine rows, in its order. Batches of one key must come one after the other.
   * @throws ColumnNotFetchedError where the definition needs a further column
   */
  evaluate(batch: AsOfBatch): EvaluatedRows {
    const { rows, keys, times, places } = batch;
    const asked = places.reduce((count, place) => count + (place < 0 ? 0 : 1), 0);
    const out: Output = {
      keys: new Float64Array(asked),
      places: new Float64Array(asked),
      columns: this.#transports.map(({ isNumber }) =>
        isNumber ? new Float64Array(asked) : new Array(asked),
      ),
      length: 0,
      refused: 0,
    };
    for (let from = 0; from < rows; ) {
      let to = from + 1;
      while (to < rows && times[to] === times[from] && keys[to] === keys[from]) to++;
      if (keys[from] !== this.#key) {
        this.#history.clear();
        this.#key = keys[from]!;
      }
      if (to - from === 1) this.#take(batch, from, ANY_ID, out);
      else this.#takeMillisecond(batch, from, to, out);
      from = to;
    }
    const { columns, refused } = out;
    return { keys: out.keys, places: out.places, columns, events: rows - asked, refused };
  }

  /** Rows of one key and time, in any order: events by their ids, and each row of the spine behind the event it is about. */
  #takeMillisecond(batch: AsOfBatch, from: number, to: number, out: Output): void {
    const { places } = batch;
    const isPair = to - from === 2 && places[from]! < 0 !== places[from + 1]! < 0;
    if (isPair) {
      // An event and the one row that asks about it: the rule where a spine is made of events.
      const event = places[from]! < 0 ? from : from + 1;
      const row = from + (to - 1) - event;
      const isSeen = compareEventIds(idAt(batch, event), idAt(batch, row)) <= 0;
      this.#take(batch, isSeen ? event : row, ANY_ID, out);
      this.#take(batch, isSeen ? row : event, ANY_ID, out);
      return;
    }
    const order = Array.from({ length: to - from }, (_, n) => ({ i: from + n, id: idAt(batch, from + n) }));
    order.sort((a, b) => compareEventIds(a.id, b.id) || places[a.i]! - places[b.i]!);
    for (const { i, id } of order) this.#take(batch, i, id, out);
  }

  #take(batch: AsOfBatch, i: number, id: EventId, out: Output): void {
    const timeMs = batch.times[i]!;
    const place = batch.places[i]!;
    if (place >= 0) {
      this.#answer(batch.keys[i]!, place, timeMs, out);
      return;
    }
    const values = this.#project(batch, i, out);
    if (values !== null) this.#history.append(timeMs, id, values);
  }

  #project(batch: AsOfBatch, i: number, out: Output): ReturnType<CompiledView['project']> {
    const row = this.#row;
    try {
      // That its key is the one at hand, and may be one, was seen where the stream was made.
      const values = this.#view.project(row.of(batch, i));
      row.check();
      return values;
    } catch (error) {
      row.check();
      if (!(error instanceof ProjectionError)) throw error;
      out.refused++;
      return null;
    }
  }

  #answer(key: number, place: number, atMs: number, out: Output): void {
    this.#history.moveTo(atMs);
    const n = out.length++;
    out.keys[n] = key;
    out.places[n] = place;
    const question = { atMs, tie: null, extra: null, unknownMs: null };
    for (const { feature, value } of this.#read.evaluateOver(this.#history, question)) {
      const c = this.#index.get(feature)!;
      out.columns[c]![n] = this.#transports[c]!.write(value) as never;
    }
  }
}

interface Output {
  readonly keys: Float64Array;
  readonly places: Float64Array;
  readonly columns: readonly (Float64Array | (string | number | bigint | null)[])[];
  length: number;
  refused: number;
}

function idAt({ ids, positions, places }: AsOfBatch, i: number): EventId {
  if (ids === null) {
    if (places[i]! >= 0) return LAST_ID;
    const position = positions[i]!;
    return { hi: Math.floor(position / TWO_32), lo: position % TWO_32 };
  }
  const id = ids[i]!;
  if (id === null || Number.isNaN(id)) return LAST_ID;
  return typeof id === 'string' ? textEventId(id) : integerEventId(id);
}
