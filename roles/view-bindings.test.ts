import { beforeEach, expect, test } from 'vitest';
import { testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import { aborted, begun, bindingName, joined, removed, switched } from './view-binding.ts';
import { ViewBindings } from './view-bindings.ts';

const [source] = [...testRepo.sources.values()].filter(({ views }) => views.length > 1);
const [view, other] = source!.views;
const NEW = 'feedfeedfeedfeed';
const newToken = randomTokens();

let clock: ManualClock;
let store: MemoryTileStore;
let bindings: ViewBindings;

const open = (): ViewBindings =>
  new ViewBindings({ views: testRepo.views.values(), store, clock, newToken: () => newToken() });
const refresh = async (of = bindings): Promise<void> => of.adopt(view!, (await of.read([view!]))[0]!);
const namespaces = (): string[] => bindings.applied(source!).map(({ namespace }) => namespace);
const others = source!.views.slice(1).map(({ namespace }) => namespace);

beforeEach(() => {
  clock = new ManualClock(1_000);
  store = new MemoryTileStore({ random: () => newToken() });
  bindings = open();
});

test('without a record a view is read and applied where its definition says, as the very object of the repo', async () => {
  await refresh();
  expect(bindings.active(view!)).toBe(view);
  expect(bindings.applied(source!)).toEqual(source!.views);
  expect(bindings.applied(source!)[0]).toBe(view);
  expect(bindings.inNamespace(view!.namespace)).toBe(view);
  expect(bindings.inNamespace(NEW)).toBeUndefined();
});

test('a rebuild: what is building is applied when it has joined, read when it was switched to; the former stays for a while', async () => {
  const reader = open();
  expect(
    await bindings.change(
      view!,
      begun(bindings.binding(view!), NEW, { acceptGap: false, cut: null, history: null }),
    ),
  ).toBe(true);
  expect(namespaces()).toEqual([view!.namespace, ...others]);
  // Compaction knows it at once.
  expect(bindings.inNamespace(NEW)).toMatchObject({ name: view!.name, namespace: NEW });

  const before = bindings.applied(source!);
  expect(bindings.applied(source!)).toBe(before);
  await bindings.change(view!, joined(bindings.binding(view!)));
  expect(bindings.applied(source!)).not.toBe(before);
  expect(namespaces()).toEqual([view!.namespace, NEW, ...others]);
  expect(bindings.active(view!)).toBe(view);

  await bindings.change(view!, switched(bindings.binding(view!), clock.nowMs() + 500));
  expect(bindings.active(view!).namespace).toBe(NEW);
  expect(bindings.definition(bindings.active(view!))).toBe(view);
  expect(bindings.isActive(view!)).toBe(false);
  expect(namespaces()).toEqual([NEW, view!.namespace, ...others]);
  // Another process reads on until it looks.
  expect(reader.active(view!)).toBe(view);
  await refresh(reader);
  expect(reader.active(view!).namespace).toBe(NEW);

  clock.advanceTo(1_499);
  expect(namespaces()).toContain(view!.namespace);
  clock.advanceTo(1_500);
  expect(namespaces()).toEqual([NEW, ...others]);
  // Known until it is removed.
  expect(bindings.inNamespace(view!.namespace)).toBe(view);
  await bindings.change(view!, removed(bindings.binding(view!), view!.namespace));
  expect(bindings.inNamespace(view!.namespace)).toBeUndefined();
  expect(bindings.active(other!)).toBe(other);
});

test('of two who change a binding at once one is refused, and changes nothing', async () => {
  const second = open();
  expect(
    await bindings.change(
      view!,
      begun(bindings.binding(view!), NEW, { acceptGap: false, cut: null, history: null }),
    ),
  ).toBe(true);
  expect(
    await second.change(
      view!,
      begun(second.binding(view!), 'beefbeefbeefbeef', { acceptGap: false, cut: null, history: null }),
    ),
  ).toBe(false);
  expect(second.binding(view!).building).toBeNull();
  await refresh(second);
  expect(second.binding(view!).building).toEqual({
    namespace: NEW,
    joined: false,
    acceptGap: false,
    cut: null,
    history: null,
  });
});

test('an aborted rebuild is to be removed at once', async () => {
  await bindings.change(
    view!,
    begun(bindings.binding(view!), NEW, { acceptGap: false, cut: null, history: null }),
  );
  await bindings.change(view!, aborted(bindings.binding(view!), clock.nowMs()));
  expect(bindings.binding(view!)).toMatchObject({
    active: view!.namespace,
    building: null,
    retiring: [{ namespace: NEW, untilMs: 1_000 }],
  });
  expect(namespaces()).toEqual([view!.namespace, ...others]);
});

test('a store that falls back, or is emptied, takes its bindings with it', async () => {
  await bindings.change(
    view!,
    begun(bindings.binding(view!), NEW, { acceptGap: false, cut: null, history: null }),
  );
  await bindings.change(view!, switched(bindings.binding(view!), 5_000));
  store.rollback(1);
  await refresh();
  expect(bindings.active(view!)).toBe(view);
  expect(bindings.binding(view!).building).toEqual({
    namespace: NEW,
    joined: false,
    acceptGap: false,
    cut: null,
    history: null,
  });
  store.wipe();
  await refresh();
  expect(bindings.binding(view!)).toEqual({
    token: null,
    active: view!.namespace,
    building: null,
    retiring: [],
  });
});

test('a record that this version does not understand is refused', async () => {
  const name = bindingName(view!);
  let expected: string | null = null;
  const texts = [
    'no JSON',
    '{}',
    JSON.stringify({ active: 'x', building: null, retiring: [] }),
    JSON.stringify({ active: NEW, building: { namespace: NEW }, retiring: [] }),
    JSON.stringify({ active: NEW, building: null, retiring: [{ namespace: NEW }] }),
  ];
  for (const text of texts) {
    const token = newToken();
    expect(await store.compareAndSetRecord({ name, expected, next: { token, text } })).toBe(true);
    expected = token;
    await expect(bindings.read([view!])).rejects.toThrow(StoreFormatError);
  }
});
