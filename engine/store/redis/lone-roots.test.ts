import { expect, it } from 'vitest';
import type { ReadRequest, ReadState } from '../tile-store.ts';
import { LoneRoots } from './lone-roots.ts';

const LONE = new Uint8Array([0]);
const GROWN = new Uint8Array([1]);
const implied = { from: 1, areAbsent: (first: Uint8Array | null) => first?.[0] !== 1 };

const request = (key: string): ReadRequest => ({
  address: { namespace: 'n', key, shard: 0 },
  fields: ['r', 'a', 'b'],
  implied,
});

const state = (...fields: (Uint8Array | null)[]): ReadState => ({
  token: '0000000000000001',
  head: new Uint8Array(0),
  fields,
  watermarks: [],
});

/** A read of a state whose root is this. @returns how many fields were asked for, and whether the answer will do */
function read(roots: LoneRoots, key: string, root: Uint8Array): { asked: number; done: boolean } {
  const whole = request(key);
  const narrowed = roots.narrowed(whole);
  const all = [root, root === GROWN ? LONE : null, null];
  const found = roots.completed(whole, narrowed, state(...all.slice(0, narrowed.fields.length)));
  if (found !== null) expect(found.fields).toEqual(all);
  return { asked: narrowed.fields.length, done: found !== null };
}

it('a root that stood alone is asked for alone, until it has grown', () => {
  const roots = new LoneRoots();
  expect(read(roots, 'k', LONE)).toEqual({ asked: 3, done: true });
  expect(read(roots, 'k', LONE)).toEqual({ asked: 1, done: true });
  expect(read(roots, 'other', GROWN)).toEqual({ asked: 3, done: true });
  expect(read(roots, 'other', GROWN)).toEqual({ asked: 3, done: true });
  // Grown since: the answer will not do, and the next one asks for all.
  expect(read(roots, 'k', GROWN)).toEqual({ asked: 1, done: false });
  expect(read(roots, 'k', GROWN)).toEqual({ asked: 3, done: true });
});

it('requests that imply nothing are left as they are', () => {
  const roots = new LoneRoots();
  const { address, fields } = request('k');
  for (const plain of [
    { address, fields },
    { address, fields: ['r'], implied },
  ]) {
    for (let times = 0; times < 2; times++) {
      expect(roots.narrowed(plain)).toBe(plain);
      const read = state(LONE);
      expect(roots.completed(plain, plain, read)).toBe(read);
    }
  }
});

it('remembers a bounded number of states, those read last', () => {
  const roots = new LoneRoots(4);
  const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
  for (const key of keys) {
    read(roots, key, LONE);
    // Read all the time.
    read(roots, 'hot', LONE);
  }
  const known = keys.filter((key) => roots.narrowed(request(key)).fields.length === 1);
  expect(known.length).toBeLessThan(8);
  expect(known).toContain('k19');
  expect(roots.narrowed(request('hot')).fields).toEqual(['r']);
});
