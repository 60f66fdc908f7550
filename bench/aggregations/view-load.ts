/** Events into the states of one view, as ingest and compaction would bring them there; no log, no HTTP. */
import { setImmediate as immediate } from 'node:timers/promises';
import { Compactor, inOwnNamespaces } from '../../compaction/compactor.ts';
import { ManualClock } from '../../engine/clock.ts';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import { integerEventId } from '../../engine/event-id.ts';
import { randomTokens } from '../../engine/store/random-tokens.ts';
import type { FieldName, StateAddress, TileStore, Token } from '../../engine/store/tile-store.ts';
import { PROTOCOL } from '../../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING, type IncomingRow } from '../../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../../engine/tiles/tile-shape.ts';
import { type StateWriting, ViewWriter } from '../../ingest/view-writer.ts';
import { type CardEvent, type CardEvents, END_MS } from './card-events.ts';
import { WriteMeter } from './write-meter.ts';

/** As many records as a consumer takes at once. */
export const CHUNK_EVENTS = 2_000;
const CHUNKS_PER_COMPACTION = 5;
const SHARD = 0;

export interface Loaded {
  readonly writeMs: number;
  readonly compactMs: number;
  /** Of each chunk. */
  readonly chunkBytes: readonly number[];
}

export class ViewLoad {
  readonly view: CompiledView;
  readonly meter: WriteMeter;
  readonly #clock = new ManualClock(0);
  readonly #writing: StateWriting;
  readonly #writer: ViewWriter;
  readonly #partition: number;
  #offset = 0;
  #watermark: Token | null = null;

  /** @param from.partition of the log; each load of a view into one store needs its own */
  constructor(view: CompiledView, store: TileStore, from: { partition: number } = { partition: 0 }) {
    this.view = view;
    this.#partition = from.partition;
    this.meter = new WriteMeter(store);
    this.#writing = {
      store: this.meter,
      clock: this.#clock,
      shards: 1,
      shape: DEFAULT_TILE_SHAPE,
      pacing: DEFAULT_PACING,
      rules: PROTOCOL,
      newToken: randomTokens(),
    };
    this.#writer = new ViewWriter(view, this.#writing);
  }

  address(key: string): StateAddress {
    return { namespace: this.view.namespace, key, shard: SHARD };
  }

  /** Brings in all events, then compacts as if some time had passed without more. */
  async load(
    events: CardEvents,
    onChunk: (events: readonly CardEvent[]) => void = () => {},
  ): Promise<Loaded> {
    const chunkBytes: number[] = [];
    let writeMs = 0;
    let compactMs = 0;
    for (let chunk = events.take(CHUNK_EVENTS); chunk.length > 0; chunk = events.take(CHUNK_EVENTS)) {
      // A store in this process never waits: Ctrl-C and servers' ends would not be heard of.
      await immediate();
      onChunk(chunk);
      const before = this.meter.bytesWritten;
      const startedMs = performance.now();
      await this.#apply(chunk);
      writeMs += performance.now() - startedMs;
      chunkBytes.push(this.meter.bytesWritten - before);
      if (chunkBytes.length % CHUNKS_PER_COMPACTION === 0) compactMs += await this.#compact();
    }
    this.#clock.advanceTo(Math.max(this.#clock.nowMs(), END_MS));
    // Twice: what the first leaves is due once more.
    for (let i = 0; i < 2; i++) {
      this.#clock.advanceTo(this.#clock.nowMs() + DEFAULT_PACING.foldAfterMs + this.view.latenessMs);
      compactMs += await this.#compact();
    }
    return { writeMs, compactMs, chunkBytes };
  }

  async #apply(events: readonly CardEvent[]): Promise<void> {
    const { source } = this.view;
    this.#clock.advanceTo(Math.max(this.#clock.nowMs(), events.at(-1)!.at));
    const byKey = new Map<string, IncomingRow[]>();
    const appendedMs = this.#clock.nowMs();
    for (const event of events) {
      const id = integerEventId(event.id);
      const key = this.view.keyOf(event)!;
      const values = this.view.project(event)!;
      const offset = this.#offset++;
      const row = {
        partition: this.#partition,
        offset,
        appendedMs,
        timeMs: event.at,
        id,
        dedupeId: id,
        values,
      };
      const sameKey = byKey.get(key);
      if (sameKey === undefined) byKey.set(key, [row]);
      else sameKey.push(row);
    }
    const { applied } = await this.#writer.apply(byKey);
    if (applied !== events.length) throw new Error(`${applied} of ${events.length} events were applied`);
    const token = this.#writing.newToken(null);
    const { store } = this.#writing;
    await store.moveWatermarks([
      {
        shard: SHARD,
        name: { namespace: this.view.namespace, source: source.name, partition: this.#partition },
        expected: this.#watermark,
        incarnation: await store.incarnation(SHARD),
        next: {
          nextOffset: this.#offset,
          token,
          maxEventTimeMs: events.at(-1)!.at,
          appendedMs,
          clockMs: 0,
          logIdentity: '',
        },
      },
    ]);
    this.#watermark = token;
  }

  async #compact(): Promise<number> {
    const startedMs = performance.now();
    const compactor = new Compactor(inOwnNamespaces([this.view]), this.#writing, async () => true);
    for (;;) {
      const { compacted, ended } = await compactor.step(SHARD);
      if (compacted + ended === 0) return performance.now() - startedMs;
    }
  }
}

/**
 * Puts a state as it is into another store.
 * @param fieldsPerWrite fields written at once: a script's call takes some hundreds, a store in this process any number
 */
export async function copyState(
  to: TileStore,
  {
    address,
    head,
    fields,
  }: { address: StateAddress; head: Uint8Array; fields: ReadonlyMap<FieldName, Uint8Array> },
  fieldsPerWrite: number,
): Promise<void> {
  const newToken = randomTokens();
  const all = [...fields];
  let expected: Token | null = null;
  for (let at = 0; at === 0 || at < all.length; at += fieldsPerWrite) {
    const next = { token: newToken(), head };
    const changes = new Map(all.slice(at, at + fieldsPerWrite));
    const [won] = await to.compareAndSet([{ address, expected, next, changes }]);
    if (!won) throw new Error('a copied state is there already');
    expected = next.token;
  }
}
