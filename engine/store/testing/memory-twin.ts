/**
 * Any store against the memory store: the same random sequence of operations on both must get the same answers.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { MemoryTileStore } from '../memory-tile-store.ts';
import type { CompareAndSet, DueEntry, StateAddress, TileStore } from '../tile-store.ts';

const token = (value: number): string => value.toString(16).padStart(16, '0');

/** Keys and tokens from few values, so that sequences meet the same state again. */
const smallKeys = fc.constantFrom('', 'a', 'b', '}');
const smallFields = fc.constantFrom('x', 'y', 'xy');
const smallTokens = fc.option(fc.integer({ min: 1, max: 3 }).map(token));
const bytes = fc.uint8Array({ maxLength: 5 });
const operations = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      writes: fc.array(
        fc.record({
          key: smallKeys,
          /** What the caller believes: mostly the present token, so that most writes apply. */
          expected: fc.oneof(
            { weight: 3, arbitrary: fc.constant('present' as const) },
            { weight: 1, arbitrary: smallTokens },
          ),
          next: fc.option(fc.record({ token: fc.integer({ min: 1, max: 3 }).map(token), head: bytes }), {
            freq: 5,
          }),
          changes: fc.array(fc.tuple(smallFields, fc.option(bytes)), { maxLength: 3 }),
          dueMs: fc.option(fc.nat(50)),
        }),
        { maxLength: 3 },
      ),
    }),
  },
  fc.record({
    kind: fc.constant('move' as const),
    partition: fc.nat(1),
    expected: smallTokens,
    next: fc.integer({ min: 1, max: 3 }),
    rightIncarnation: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('lease' as const),
    nowMs: fc.nat(60),
    leaseUntilMs: fc.nat(60),
    limit: fc.nat(5),
  }),
  fc.record({ kind: fc.constant('postpone' as const), pick: fc.nat(), untilMs: fc.nat(60) }),
);
type Operation = typeof operations extends fc.Arbitrary<infer T> ? T : never;

/** Runs random sequences; each has a shard and a namespace of its own, from 0 on. The seed is part of what fails. */
export async function expectSameAsMemory(
  store: TileStore,
  { runs, seed }: { readonly runs: number; readonly seed: number },
): Promise<void> {
  let run = 0;
  const property = fc.asyncProperty(fc.array(operations, { maxLength: 40 }), async (sequence) => {
    let incarnations = 0;
    const memory = new MemoryTileStore({ random: () => `incarnation ${incarnations++}` });
    await compare(store, memory, sequence, run++);
  });
  // Shrinking would run more sequences than there are shards.
  await fc.assert(property, { numRuns: runs, seed, endOnFailure: true });
}

async function compare(
  store: TileStore,
  memory: TileStore,
  sequence: readonly Operation[],
  shard: number,
): Promise<void> {
  const namespace = shard.toString(16).padStart(16, '0');
  const keys = ['', 'a', 'b', '}'];
  const names = [0, 1].map((partition) => ({ namespace, source: 's', partition }));
  const at = (key: string): StateAddress => ({ namespace, key, shard });
  const stores = [store, memory] as const;
  const requests = keys.map((key) => ({ address: at(key), fields: ['x', 'y', 'xy'], watermarks: names }));
  const leased: DueEntry[] = [];
  const both = async <T>(act: (target: TileStore, index: 0 | 1) => Promise<T>): Promise<[T, T]> => [
    await act(stores[0], 0),
    await act(stores[1], 1),
  ];

  for (const operation of sequence) {
    if (operation.kind === 'write') {
      const present = await memory.read(requests);
      const writes = operation.writes.map(
        ({ key, expected, next, changes, dueMs }): CompareAndSet => ({
          address: at(key),
          expected: expected === 'present' ? present[keys.indexOf(key)]!.token : expected,
          next,
          ...(dueMs === null ? {} : { dueMs }),
          changes: next === null ? new Map(['x', 'y', 'xy'].map((field) => [field, null])) : new Map(changes),
        }),
      );
      const [ours, theirs] = await both((target) => target.compareAndSet(writes));
      expect(ours).toEqual(theirs);
    } else if (operation.kind === 'move') {
      const [ours, theirs] = await both(async (target) => {
        const incarnation = operation.rightIncarnation ? await target.incarnation(shard) : 'wrong';
        const next = {
          nextOffset: operation.next,
          token: token(operation.next),
          maxEventTimeMs: -1,
          appendedMs: 7,
          clockMs: 0,
          logIdentity: '',
        };
        const name = names[operation.partition]!;
        return target.moveWatermarks([{ shard, name, expected: operation.expected, incarnation, next }]);
      });
      expect(ours).toEqual(theirs);
    } else if (operation.kind === 'lease') {
      const { nowMs, leaseUntilMs, limit } = operation;
      const [ours, theirs] = await both((target) => target.leaseDue({ shard, nowMs, leaseUntilMs, limit }));
      expect(ours).toEqual(theirs);
      leased.push(...ours);
    } else if (leased.length > 0) {
      const entry = leased[operation.pick % leased.length]!;
      await both((target) => target.postponeDue([entry], operation.untilMs));
    }
    const [ours, theirs] = await both((target) => target.read(requests));
    expect(plain(ours)).toEqual(plain(theirs));
    for (const nowMs of [0, 20, 40, 60]) {
      const [count, expected] = await both((target) => target.countDue(shard, nowMs));
      expect(count).toBe(expected);
    }
    const [earliest, expectedEarliest] = await both((target) => target.earliestDueMs(shard));
    expect(earliest).toBe(expectedEarliest);
  }
}

function plain(states: Awaited<ReturnType<TileStore['read']>>): unknown {
  return states.map(({ token, head, fields, watermarks }) => ({
    token,
    head: head === null ? null : [...head],
    fields: fields.map((field) => (field === null ? null : [...field])),
    watermarks,
  }));
}
