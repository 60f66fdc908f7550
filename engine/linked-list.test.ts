import { expect, test } from 'vitest';
import { LinkedList } from './linked-list.ts';
import { SeededRandom } from './testing/random.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_129);

test(`holds what a Set would hold, in its order (TEST_SEED=${SEED})`, () => {
  const random = new SeededRandom(SEED);
  const list = new LinkedList<number>();
  const twin = new Set<number>();
  const nodes = new Map<number, ReturnType<typeof list.add>>();
  let empty = 0;
  for (let step = 0; step < 5_000; step++) {
    // Now more come than go, now the other way round.
    if (random.chance(step % 200 < 100 ? 0.7 : 0.3)) {
      nodes.set(step, list.add(step));
      twin.add(step);
    } else if (twin.size > 0) {
      const value = random.pick([...twin]);
      list.remove(nodes.get(value)!);
      twin.delete(value);
    }
    if (twin.size === 0) empty++;
    expect([...list]).toEqual([...twin]);
    expect(list.isEmpty).toBe(twin.size === 0);
    expect(list.first).toBe([...twin][0]);
  }
  expect(empty).toBeGreaterThan(10);
});

test('what was taken out is taken out again without effect, and holds nobody', () => {
  const list = new LinkedList<string>();
  const [a, b, c] = ['a', 'b', 'c'].map((value) => list.add(value));
  list.remove(b!);
  list.remove(b!);
  expect([...list]).toEqual(['a', 'c']);
  expect(b).toEqual({ value: 'b', list: null, before: null, behind: null });
  list.remove(a!);
  list.remove(c!);
  expect(list.isEmpty).toBe(true);
});

test('a node of another list is left where it is', () => {
  const [list, other] = [new LinkedList<string>(), new LinkedList<string>()];
  const node = other.add('there');
  list.add('here');
  list.remove(node);
  expect([...other]).toEqual(['there']);
  expect([...list]).toEqual(['here']);
});

test('the one at hand may be taken out while all are gone through', () => {
  const list = new LinkedList<number>();
  const nodes = [1, 2, 3].map((value) => list.add(value));
  const met: number[] = [];
  for (const value of list) {
    met.push(value);
    list.remove(nodes[value - 1]!);
  }
  expect(met).toEqual([1, 2, 3]);
  expect(list.isEmpty).toBe(true);
});
