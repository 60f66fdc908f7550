/**
 * What the tests of edges run on: every store, and on each the same events as rows of the tail, as one leaf, and as a
 * tree as deep as it gets. With the source that they share.
 */
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { entity, integer, streamSource, string, timestamp } from '../../index.ts';
import { describeWithServices } from '../../services/index.ts';
import type { EventRow } from '../definitions/types.ts';
import type { TileStore } from '../store/tile-store.ts';
import { type CaseStores, openCaseStores, STORE_KINDS, type StoreKind } from './matrix/case-stores.ts';
import { SingleView } from './single-view.ts';

export const source = streamSource({
  name: 'events',
  columns: { id: integer(), at: timestamp(), card: string() },
  eventTime: 'at',
  eventId: 'id',
  lateness: 0,
});
export const card = entity('card');

let nextId = 1;
/** Of card `c`. */
export const event = (timeMs: number, id = nextId++): EventRow => ({ id, at: timeMs, card: 'c' });

const FORMS = [
  { form: 'in the tail', shape: { leafBytesMax: 4096, tailRowsMax: 10_000 }, folded: false },
  { form: 'in a leaf', shape: { leafBytesMax: 1_000_000, tailRowsMax: 1 }, folded: true },
  { form: 'in a deep tree', shape: { leafBytesMax: 60, tailRowsMax: 1 }, folded: true },
] as const;

/** A view that holds these events, in one form, in a store where nothing else is. */
export type OpenForm = (definition: unknown, events: readonly EventRow[]) => Promise<SingleView>;

export function describeForms(body: (open: OpenForm) => void): void {
  for (const kind of STORE_KINDS) {
    if (kind === 'redis') describeWithServices(['redis'], 'over Redis', () => onStore(kind, body));
    else describe(kind === 'memory' ? 'in memory' : 'over lmdb', () => onStore(kind, body));
  }
}

function onStore(kind: StoreKind, body: (open: OpenForm) => void): void {
  let stores: CaseStores;
  let storeAt: (place: number) => TileStore;
  let places = 0;
  beforeAll(async () => {
    stores = await openCaseStores(kind);
    storeAt = await stores.renew();
  });
  afterAll(() => stores?.close());

  describe.each(FORMS)('$form', ({ shape, folded }) => {
    body(async (definition, events) => {
      const startMs = Math.max(...events.map(({ at }) => at as number));
      const state = new SingleView(definition, { startMs, shape, foldAfterMs: 0, store: storeAt(places++) });
      await state.apply(events);
      if (folded) {
        state.clock.advanceTo(state.clock.nowMs() + 1);
        expect(await state.compact()).toBe(1);
      }
      return state;
    });
  });
}
