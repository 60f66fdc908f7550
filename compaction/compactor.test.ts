import { describe, expect, test } from 'vitest';
import { ByteReader } from '../engine/bytes.ts';
import { ManualClock } from '../engine/clock.ts';
import { count, sum } from '../engine/definitions/aggregation.ts';
import { integer, string, timestamp } from '../engine/definitions/column.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { entity } from '../engine/definitions/entity.ts';
import { featureView } from '../engine/definitions/feature-view.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import { integerEventId } from '../engine/event-id.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import type { ReadRequest, ReadState } from '../engine/store/tile-store.ts';
import { decodeHead, tailStorages } from '../engine/tiles/head.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { type StateWriting, ViewWriter } from '../ingest/view-writer.ts';
import { Compactor, inOwnNamespaces } from './compactor.ts';

const START_MS = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const FOLD_AFTER_MS = 600_000;
const LEASE_MS = 30_000;

const swipes = streamSource({
  name: 'swipes',
  columns: { id: integer(), at: timestamp(), card: string(), amount: integer() },
  eventTime: 'at',
  eventId: 'id',
});
const view = compileRepo([
  featureView({
    name: 'spend',
    source: swipes,
    entity: entity('card'),
    features: { n_7d: count().over('7d'), sum_7d: sum('amount').over('7d') },
    asOfRetention: '1d',
  }),
]).views.get('spend')!;
/** Rows are kept for the window and the as-of retention; expiry runs in strides of a sixteenth of that. */
const RETENTION_MS = 8 * DAY_MS;
const address = { namespace: view.namespace, key: 'k', shard: 0 };
const watermark = { namespace: view.namespace, source: 'swipes', partition: 0 };

class Setup {
  readonly clock = new ManualClock(START_MS);
  readonly store: MemoryTileStore;
  readonly writing: StateWriting;
  readonly compactor: Compactor;
  #offset = 0;

  constructor(
    views: readonly CompiledView[] = [view],
    store = new MemoryTileStore({ random: randomTokens() }),
  ) {
    this.store = store;
    this.writing = {
      store,
      clock: this.clock,
      shards: 1,
      shape: DEFAULT_TILE_SHAPE,
      pacing: { foldAfterMs: FOLD_AFTER_MS },
      rules: PROTOCOL,
      newToken: randomTokens(),
    };
    this.compactor = new Compactor(inOwnNamespaces(views), this.writing, async () => true, {
      leaseMs: LEASE_MS,
    });
  }

  /** Applies one event at now and moves the watermark past it. */
  async apply(id: number): Promise<void> {
    const timeMs = this.clock.nowMs();
    const eventId = integerEventId(id);
    const offset = this.#offset++;
    const row = {
      partition: 0,
      offset,
      appendedMs: timeMs,
      timeMs,
      id: eventId,
      dedupeId: eventId,
      values: [5],
    };
    await new ViewWriter(view, this.writing).apply(new Map([['k', [row]]]));
    const [present] = await this.store.readWatermarks(0, [watermark]);
    const next = {
      nextOffset: this.#offset,
      token: this.writing.newToken(null),
      maxEventTimeMs: timeMs,
      appendedMs: timeMs,
      clockMs: timeMs,
      logIdentity: 'log',
    };
    const incarnation = await this.store.incarnation(0);
    const expected = present?.token ?? null;
    await this.store.moveWatermarks([{ shard: 0, name: watermark, expected, incarnation, next }]);
  }

  async advance(byMs: number): Promise<void> {
    this.clock.advanceTo(this.clock.nowMs() + byMs);
  }

  async state(): Promise<{ exists: boolean; tailRows: number; hasTree: boolean }> {
    const [state] = await this.store.read([{ address, fields: ['R'] }]);
    const head =
      state!.head === null ? null : decodeHead(new ByteReader(state!.head), tailStorages(view.storages));
    return { exists: head !== null, tailRows: head?.tail.length ?? 0, hasTree: state!.fields[0] !== null };
  }

  due(inMs: number): Promise<number> {
    return this.store.countDue(0, this.clock.nowMs() + inMs);
  }
}

describe('a state that ingest wrote', () => {
  test('is due for folding after a while, not before, and is then folded', async () => {
    const it = new Setup();
    await it.apply(1);
    expect(await it.due(FOLD_AFTER_MS - 1)).toBe(0);
    expect(await it.due(FOLD_AFTER_MS)).toBe(1);
    expect(await it.compactor.step(0)).toMatchObject({ compacted: 0 });
    await it.advance(FOLD_AFTER_MS);
    expect(await it.compactor.step(0)).toMatchObject({ compacted: 1, ended: 0, conflicts: 0, postponed: 0 });
    expect(await it.state()).toEqual({ exists: true, tailRows: 0, hasTree: true });
  });

  test('is due again once its oldest row is past every window and a stride, and then ends', async () => {
    const it = new Setup();
    await it.apply(1);
    await it.advance(FOLD_AFTER_MS);
    await it.compactor.step(0);
    const expiryMs = RETENTION_MS + RETENTION_MS / 16 - FOLD_AFTER_MS;
    expect(await it.due(expiryMs - 1)).toBe(0);
    expect(await it.due(expiryMs)).toBe(1);
    await it.advance(expiryMs);
    expect(await it.compactor.step(0)).toMatchObject({ compacted: 0, ended: 1 });
    expect(await it.state()).toEqual({ exists: false, tailRows: 0, hasTree: false });
    expect(await it.due(10 * RETENTION_MS)).toBe(0);
  });

  test('becomes due for folding again when more events come', async () => {
    const it = new Setup();
    await it.apply(1);
    await it.advance(FOLD_AFTER_MS);
    await it.compactor.step(0);
    await it.apply(2);
    expect(await it.due(FOLD_AFTER_MS)).toBe(1);
  });

  test('keeps in the tail what no watermark covers, and what lateness has not passed', async () => {
    const it = new Setup();
    await it.apply(1);
    await it.advance(FOLD_AFTER_MS - 1);
    await it.apply(2);
    await it.advance(1);
    await it.compactor.step(0);
    expect(await it.state()).toEqual({ exists: true, tailRows: 1, hasTree: true });
    // A watermark that is gone covers nothing.
    it.store.wipe();
    await new ViewWriter(view, it.writing).apply(
      new Map([
        [
          'k',
          [
            {
              partition: 0,
              offset: 9,
              appendedMs: START_MS,
              timeMs: START_MS,
              id: integerEventId(9),
              dedupeId: integerEventId(9),
              values: [5],
            },
          ],
        ],
      ]),
    );
    await it.advance(FOLD_AFTER_MS);
    expect(await it.compactor.step(0)).toMatchObject({ compacted: 1 });
    expect(await it.state()).toEqual({ exists: true, tailRows: 1, hasTree: false });
    expect(await it.due(FOLD_AFTER_MS)).toBe(1);
  });
});

test('a state written meanwhile is left alone and comes up again when the lease ends', async () => {
  /** Writes to the state between the compactor's last read and its write. */
  class RacingStore extends MemoryTileStore {
    race: (() => Promise<void>) | null = null;

    override async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
      const states = await super.read(requests);
      const { race } = this;
      if (race !== null && requests.some(({ watermarks }) => (watermarks ?? []).length > 0)) {
        this.race = null;
        await race();
      }
      return states;
    }
  }
  const store = new RacingStore({ random: randomTokens() });
  const it = new Setup([view], store);
  await it.apply(1);
  await it.advance(FOLD_AFTER_MS);
  store.race = () => it.apply(2);
  expect(await it.compactor.step(0)).toMatchObject({ compacted: 0, conflicts: 1 });
  expect((await it.state()).tailRows).toBe(2);
  expect(await it.due(LEASE_MS - 1)).toBe(0);
  await it.advance(LEASE_MS);
  expect(await it.compactor.step(0)).toMatchObject({ compacted: 1, conflicts: 0 });
});

describe('a compactor that does not define the view, of a version before it or after it', () => {
  const POSTPONED_MS = DAY_MS;

  /** What an old process does meanwhile, over the same store. */
  const former = (it: Setup): Compactor =>
    new Compactor(inOwnNamespaces([]), it.writing, async () => true, { leaseMs: LEASE_MS });

  test('puts the state off, and whoever knows it finds it a day later', async () => {
    const it = new Setup();
    await it.apply(1);
    await it.advance(FOLD_AFTER_MS);
    expect(await former(it).step(0)).toMatchObject({ compacted: 0, postponed: 1 });
    expect(await it.due(POSTPONED_MS - 1)).toBe(0);
    await it.advance(POSTPONED_MS);
    expect(await it.compactor.step(0)).toMatchObject({ compacted: 1, postponed: 0 });
    expect(await it.state()).toEqual({ exists: true, tailRows: 0, hasTree: true });
  });

  test('keeps no written state from compaction: with a further event it is due where it was', async () => {
    const it = new Setup();
    await it.apply(1);
    await it.advance(FOLD_AFTER_MS);
    await former(it).step(0);
    // Within a minute it may just be leased.
    await it.advance(60_000);
    await it.apply(2);
    expect(await it.due(0)).toBe(0);
    await it.advance(1);
    await it.apply(3);
    expect(await it.due(-60_001)).toBe(1);
    expect(await it.compactor.step(0)).toMatchObject({ compacted: 1 });
    // Events that lateness has not passed stay in the tail.
    expect(await it.state()).toEqual({ exists: true, tailRows: 2, hasTree: true });
    // It is as any other again.
    expect(await it.due(FOLD_AFTER_MS - 1)).toBe(0);
  });

  test('beside one that does, through a rolling upgrade: the state is folded and in the end expires', async () => {
    const it = new Setup();
    const old = former(it);
    for (let id = 1; id <= 40; id++) {
      await it.apply(id);
      await it.advance(FOLD_AFTER_MS / 4);
      // The old one always comes first.
      await old.step(0);
      if (id > 20) await it.compactor.step(0);
    }
    for (let days = 0; days < 11; days++) {
      await old.step(0);
      await it.advance(POSTPONED_MS + 1);
      await it.compactor.step(0);
    }
    expect(await it.state()).toEqual({ exists: false, tailRows: 0, hasTree: false });
    expect(await it.due(10 * RETENTION_MS)).toBe(0);
  });
});
