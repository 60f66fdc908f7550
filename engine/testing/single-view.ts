/** One view with its writer, compactor and reader over a store: the engine without a log. For tests. */
import { Compactor, inOwnNamespaces } from '../../compaction/compactor.ts';
import { type StateWriting, ViewWriter } from '../../ingest/view-writer.ts';
import type { FeatureValue } from '../aggregators/partial-aggregate.ts';
import { ManualClock } from '../clock.ts';
import { compileRepo } from '../definitions/compile.ts';
import type { CompiledView } from '../definitions/compiled.ts';
import type { EventRow, FeatureView } from '../definitions/types.ts';
import { type EventId, integerEventId, textEventId } from '../event-id.ts';
import { MemoryTileStore } from '../store/memory-tile-store.ts';
import { ReadFields } from '../store/read-fields.ts';
import type { TileStore, Token } from '../store/tile-store.ts';

import { allocateRows, setValue } from '../tiles/row-block.ts';
import { type BuiltState, StateBuilder } from '../tiles/state-builder.ts';
import { PROTOCOL } from '../tiles/state-protocol.ts';
import type { IncomingRow } from '../tiles/state-update.ts';

import { DEFAULT_TILE_SHAPE, type TileShape } from '../tiles/tile-shape.ts';
import type { TieLimit } from '../tiles/window-source.ts';
import { type AskedEvent, WindowRead, type WindowValue } from '../windows/window-read.ts';
import { FieldTracker } from './field-tracker.ts';
import { SeededRandom } from './random.ts';

const SHARD = 0;

type EventIdValue = number | bigint | string;

function eventIdOf(value: EventIdValue): EventId {
  return typeof value === 'string' ? textEventId(value) : integerEventId(value);
}

export interface ReadCost {
  /** Fields asked for, the head not counted. */
  readonly fields: number;
  /** Of these, fields that exist. */
  readonly present: number;
  /** Bytes of the head and of all fields. */
  readonly bytes: number;
}

export class SingleView {
  readonly view: CompiledView;
  readonly clock: ManualClock;
  readonly tracker: FieldTracker;
  readonly #writing: StateWriting;
  readonly #writer: ViewWriter;
  readonly #read: WindowRead;
  #offset = 0;
  #watermark: Token | null = null;

  /** @param options.store one in which nobody has written; by default in memory */
  constructor(
    definition: unknown,
    options: { startMs: number; shape?: TileShape; foldAfterMs?: number; store?: TileStore },
  ) {
    const random = new SeededRandom(1);
    this.view = [...compileRepo([definition as FeatureView]).views.values()][0]!;
    this.clock = new ManualClock(options.startMs);
    const inMemory = (): TileStore => new MemoryTileStore({ random: () => random.hex64(), historyLimit: 0 });
    this.tracker = new FieldTracker(options.store ?? inMemory());
    this.#writing = {
      store: this.tracker,
      clock: this.clock,
      shards: 1,
      shape: options.shape ?? DEFAULT_TILE_SHAPE,
      pacing: { foldAfterMs: options.foldAfterMs ?? 600_000 },
      rules: PROTOCOL,
      newToken: () => random.hex64(),
    };
    this.#writer = new ViewWriter(this.view, this.#writing);
    this.#read = new WindowRead(this.view, this.view.features);
  }

  #byKey(rows: readonly EventRow[]): Map<string, IncomingRow[]> {
    const { source } = this.view;
    const byKey = new Map<string, IncomingRow[]>();
    for (const row of rows) {
      const offset = this.#offset++;
      const key = this.view.keyOf(row);
      const values = this.view.project(row);
      const timeMs = row[source.eventTime] as number;
      if (key === null || values === null) continue;
      const id = eventIdOf(row[source.eventId!] as EventIdValue);
      const appendedMs = this.clock.nowMs();
      const incoming = { partition: 0, offset, appendedMs, timeMs, id, dedupeId: id, values };
      const sameKey = byKey.get(key);
      if (sameKey === undefined) byKey.set(key, [incoming]);
      else sameKey.push(incoming);
    }
    return byKey;
  }

  /** Writes the states of a history at once, `batch` rows of a key at a time. Of keys that are not there yet. */
  async fill(rows: readonly EventRow[], batch = rows.length): Promise<void> {
    const { shape, pacing } = this.#writing;
    const builder = new StateBuilder(this.view, { shape, pacing });
    const ofHistory = this.#byKey(rows);
    // A log of its own follows: states say nothing of its offsets.
    this.#offset = 0;
    for (const [key, ofKey] of ofHistory) {
      for (let i = 0; i < ofKey.length; i += batch)
        builder.add(ofKey.slice(i, i + batch), this.clock.nowMs());
      const built = builder.finish(this.clock.nowMs());
      if (built !== null) await this.write({ key, ...built });
    }
  }

  /** Writes a state that was made elsewhere. Of a key that is not there yet. */
  async write({ key, head, fields, dueMs }: BuiltState & { readonly key: string }): Promise<void> {
    const { store, newToken } = this.#writing;
    const [won] = await store.compareAndSet([
      {
        address: { namespace: this.view.namespace, key, shard: SHARD },
        ...{ expected: null, next: { token: newToken(null), head }, changes: fields, dueMs },
      },
    ]);
    if (!won) throw new Error('there is a state of the key');
  }

  /** Applies a batch as one chunk of the log and moves the watermark. */
  async apply(rows: readonly EventRow[]): Promise<void> {
    const { source } = this.view;
    const maxEventTimeMs = Math.max(-1, ...rows.map((row) => row[source.eventTime] as number));
    await this.#writer.apply(this.#byKey(rows));
    const { store, newToken } = this.#writing;
    const token = newToken(null);
    await store.moveWatermarks([
      {
        shard: SHARD,
        name: { namespace: this.view.namespace, source: source.name, partition: 0 },
        expected: this.#watermark,
        incarnation: await store.incarnation(SHARD),
        next: {
          nextOffset: this.#offset,
          token,
          maxEventTimeMs,
          appendedMs: this.clock.nowMs(),
          clockMs: 0,
          logIdentity: '',
        },
      },
    ]);
    this.#watermark = token;
  }

  /** Compacts until nothing is due. Returns the number of states rewritten or ended. */
  async compact(): Promise<number> {
    const compactor = new Compactor(inOwnNamespaces([this.view]), this.#writing, async () => true);
    for (let total = 0; ; ) {
      const { compacted, ended } = await compactor.step(SHARD);
      if (compacted + ended === 0) return total;
      total += compacted + ended;
    }
  }

  /** @param asked an event of this key to ask about, recorded or not (C10) */
  async read(
    key: string,
    atMs: number,
    asked: EventRow | null = null,
  ): Promise<{ values: readonly WindowValue[]; cost: ReadCost }> {
    const question = asked === null ? null : this.#question(asked);
    const lookup = this.#read.lookup(atMs, question?.row.times[0] ?? null);
    const address = { namespace: this.view.namespace, key, shard: SHARD };
    const [state] = await this.tracker.read([{ address, ...lookup }]);
    const bytes = new ReadFields(lookup, state!.fields);
    let total = state!.head?.length ?? 0;
    let present = 0;
    bytes.forEachPresent((value) => {
      total += value.length;
      present++;
    });
    const values = this.#read.evaluate({
      ...{ head: state!.head, bytes, atMs, asked: question },
      tie: asked === null ? null : this.#tieOf(asked, atMs),
    });
    return { values, cost: { fields: state!.fields.length, present, bytes: total } };
  }

  /** Also where the event does not count itself, others of its millisecond count up to it. */
  #tieOf(event: EventRow, atMs: number): TieLimit | null {
    const { eventTime, eventId } = this.view.source;
    if (event[eventTime] !== atMs) return null;
    return { timeMs: atMs, last: eventIdOf(event[eventId!] as EventIdValue) };
  }

  #question(event: EventRow): AskedEvent | null {
    const { source, storages } = this.view;
    const values = this.view.project(event);
    if (values === null) return null;
    const id = eventIdOf(event[source.eventId!] as EventIdValue);
    const row = allocateRows(1, storages);
    row.times[0] = event[source.eventTime] as number;
    row.idHi[0] = id.hi;
    row.idLo[0] = id.lo;
    values.forEach((value, c) => {
      setValue(row, c, 0, value);
    });
    return { row, id, dedupeId: id };
  }

  /** The values by feature name. */
  async values(
    key: string,
    atMs: number,
    asked: EventRow | null = null,
  ): Promise<Record<string, FeatureValue>> {
    const { values } = await this.read(key, atMs, asked);
    return Object.fromEntries(values.map(({ feature, value }) => [feature.name, value]));
  }
}
