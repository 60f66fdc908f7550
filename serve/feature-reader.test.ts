/** When values are said to be of a log that is not applied, or of a store that has lost some of it. */
import { beforeEach, expect, test } from 'vitest';
import { both, NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import type { ShardMark } from '../engine/store/shard-mark.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import type { ReadRequest, ReadState } from '../engine/store/tile-store.ts';
import { FeatureReader } from './feature-reader.ts';

const newToken = randomTokens();
const view = testRepo.views.get('spend')!;
const name = { namespace: view.namespace, source: 'payments', partition: 0 };

/** What happens while a read is under way. */
class RacedStore extends ForwardingStore {
  meanwhile: (() => void) | null = null;

  override async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    const states = await super.read(requests);
    this.meanwhile?.();
    return states;
  }
}

let store: MemoryTileStore;
let raced: RacedStore;
let expected: string | null;
let seen: ShardMark | null;
let behind: (view: CompiledView) => boolean;
let gaps: readonly LogGap[];

beforeEach(() => {
  store = new MemoryTileStore({ random: () => newToken() });
  raced = new RacedStore(store);
  expected = null;
  seen = null;
  behind = () => false;
  gaps = [];
});

const move = async (nextOffset: number): Promise<void> => {
  const next = { nextOffset, token: newToken(), maxEventTimeMs: -1, appendedMs: -1, clockMs: 0 };
  const moves = [
    { shard: 0, name, expected, incarnation: await store.incarnation(0), next: { ...next, logIdentity: '' } },
  ];
  expect(await store.moveWatermarks(moves)).toEqual([true]);
  expected = next.token;
};
const look = async (): Promise<void> => {
  seen = (await store.look(0, [name])).mark;
};
const statuses = async (): Promise<string[]> => {
  const reader = new FeatureReader({
    service: testRepo.services.get(both.name)!,
    store: raced,
    shards: 1,
    isCatchingUp: (of) => behind(of),
    seenMark: () => seen,
    gapsOf: () => gaps,
    onEvaluationError: (_view, error) => {
      throw error;
    },
  });
  const keys = new Map([['card', 'c1']]);
  const [answers] = await reader.read([{ keys, request: {}, atMs: NOON_MS, asked: null }]);
  return [...new Set(answers!.map(({ status }) => status))];
};

test('a key without events is empty in a store that has lost nothing', async () => {
  expect(await statuses()).toEqual(['empty']);
  await move(5);
  await look();
  expect(await statuses()).toEqual(['empty']);
  await move(6);
  expect(await statuses()).toEqual(['empty']);
});

test('it is catching up in a store that was emptied, until positions were seen again', async () => {
  await move(5);
  await look();
  store.wipe();
  expect(await statuses()).toEqual(['catching_up']);
  expected = null;
  for (const offset of [1, 2, 3]) await move(offset);
  expect(await statuses()).toEqual(['catching_up']);
  await look();
  expect(await statuses()).toEqual(['empty']);
});

test('it is catching up in a store that fell back behind the positions seen', async () => {
  await move(5);
  await move(6);
  await look();
  store.rollback(1);
  expect(await statuses()).toEqual(['catching_up']);
});

test('a gap that is forgotten while a read is under way, or found, is one that the value lacks', async () => {
  await move(5);
  await look();
  const gap: LogGap = { fromOffset: 0, toOffset: 2, afterMs: null, untilMs: NOON_MS };
  gaps = [gap];
  // As where a namespace without it has been switched to since.
  raced.meanwhile = () => {
    gaps = [];
  };
  expect(await statuses()).toContain('catching_up');
  raced.meanwhile = () => {
    gaps = [gap];
  };
  expect(await statuses()).toContain('catching_up');
  raced.meanwhile = null;
  gaps = [];
  expect(await statuses()).toEqual(['empty']);
});

test('what is learned while a read is under way says nothing of what was read', async () => {
  await move(5);
  await look();
  // A view that has caught up since: the read is of before.
  let caughtUp = false;
  behind = () => !caughtUp;
  raced.meanwhile = () => {
    caughtUp = true;
  };
  expect(await statuses()).toEqual(['catching_up']);
  expect(await statuses()).toEqual(['empty']);
  // Positions further on than the read: it has lost nothing.
  const former = seen;
  await move(6);
  await look();
  const newer = seen;
  seen = former;
  raced.meanwhile = () => {
    seen = { history: newer!.history, moves: newer!.moves + 1 };
  };
  expect(await statuses()).toEqual(['empty']);
});
