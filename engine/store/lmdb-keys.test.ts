import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeDueKey,
  decodeStateKey,
  dueKey,
  endOfState,
  fieldKey,
  StateKeyWriter,
  stateKey,
  watermarkKey,
} from './lmdb-keys.ts';
import { InvalidAddressError } from './state-address.ts';

const LMDB_KEY_BYTES_MAX = 1978;

const namespaces = fc.constantFrom(
  '0000000000000000',
  '0000000000000001',
  '0100000000000000',
  'ffffffffffffffff',
);
/** Short keys of few characters: neighbours that differ in one place are likely. */
const keys = fc.oneof(
  fc.string({ unit: fc.constantFrom('\0', 'a', '}', ':', '0', 'é', '😀', '\u{FEFF}'), maxLength: 4 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const fields = fc.string({ unit: fc.constantFrom('a', '0', ':', 'z'), minLength: 1, maxLength: 4 });
const shards = fc.constantFrom(0, 1, 255, 256, 65535);
const addresses = fc.record({ namespace: namespaces, key: keys, shard: shards });
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('lmdb keys', () => {
  it('are injective over states and fields together', () => {
    const entries = fc.record({ address: addresses, field: fc.option(fields) });
    fc.assert(
      fc.property(entries, entries, (a, b) => {
        const [keyA, keyB] = [a, b].map(({ address, field }) =>
          hex(field === null ? stateKey(address) : fieldKey(address, field)),
        );
        expect(keyA === keyB).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 5000, seed: 1 },
    );
  });

  it('are injective over watermarks', () => {
    const names = fc.record({ namespace: namespaces, source: keys, partition: shards });
    const entries = fc.tuple(shards, names);
    fc.assert(
      fc.property(entries, entries, (a, b) => {
        expect(hex(watermarkKey(...a)) === hex(watermarkKey(...b))).toBe(
          JSON.stringify(a) === JSON.stringify(b),
        );
      }),
      { numRuns: 5000, seed: 2 },
    );
  });

  it('decode to the address they were made of', () => {
    fc.assert(
      fc.property(addresses, fc.maxSafeNat(), (address, dueMs) => {
        expect(decodeStateKey(stateKey(address))).toEqual(address);
        const due = decodeDueKey(dueKey(address.shard, dueMs, stateKey(address)));
        expect(due.dueMs).toBe(dueMs);
        expect(decodeStateKey(due.state)).toEqual(address);
      }),
      { numRuns: 2000, seed: 3 },
    );
  });

  it('order due entries by shard, then time', () => {
    const entries = fc.tuple(shards, fc.oneof(fc.maxSafeNat(), fc.nat(70_000)), addresses.map(stateKey));
    fc.assert(
      fc.property(entries, entries, (a, b) => {
        const order = a[0] - b[0] || a[1] - b[1];
        if (order !== 0) expect(Math.sign(Buffer.compare(dueKey(...a), dueKey(...b)))).toBe(Math.sign(order));
      }),
      { numRuns: 5000, seed: 4 },
    );
  });

  it('keep all fields of a state, and nothing else, between the state and its end', () => {
    fc.assert(
      fc.property(addresses, addresses, fields, (a, b, field) => {
        const inRange = (key: Uint8Array): boolean =>
          Buffer.compare(key, stateKey(a)) >= 0 && Buffer.compare(key, endOfState(stateKey(a))) < 0;
        expect(inRange(fieldKey(a, field))).toBe(true);
        const same = JSON.stringify(a) === JSON.stringify(b);
        expect(inRange(fieldKey(b, field))).toBe(same);
        expect(inRange(stateKey(b))).toBe(same);
      }),
      { numRuns: 5000, seed: 5 },
    );
  });

  it('fit lmdb at their longest', () => {
    const longest = { namespace: 'ffffffffffffffff', key: '€'.repeat(341), shard: 65535 };
    expect(fieldKey(longest, 'x'.repeat(16)).length).toBeLessThan(LMDB_KEY_BYTES_MAX);
    expect(dueKey(0, 1, stateKey(longest)).length).toBeLessThan(LMDB_KEY_BYTES_MAX);
  });

  it('are refused where they would not be unique or not fit', () => {
    const good = { namespace: '00000000000000aa', key: 'k', shard: 0 };
    const bad = [
      { ...good, key: 'x'.repeat(1025) },
      { ...good, key: '\uD800' },
      { ...good, namespace: 'xyz' },
      { ...good, shard: 65536 },
      { ...good, shard: -1 },
      { ...good, shard: 0.5 },
    ];
    for (const address of bad) expect(() => stateKey(address)).toThrow(InvalidAddressError);
    for (const field of ['', 'x'.repeat(17), 'a/b', '\0']) {
      expect(() => fieldKey(good, field)).toThrow(InvalidAddressError);
    }
    for (const dueMs of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(() => dueKey(0, dueMs, stateKey(good))).toThrow(InvalidAddressError);
    }
    const name = { namespace: good.namespace, source: 's', partition: 0 };
    expect(() => watermarkKey(0, { ...name, source: '€'.repeat(86) })).toThrow(InvalidAddressError);
    expect(() => watermarkKey(0, { ...name, partition: 65536 })).toThrow(InvalidAddressError);
  });

  it('do not keep bytes of the address before', () => {
    const writer = new StateKeyWriter();
    writer.state({ namespace: 'ffffffffffffffff', key: 'a long key', shard: 9 });
    writer.field('field');
    const address = { namespace: '00000000000000aa', key: 'k', shard: 0 };
    expect(hex(writer.state(address))).toBe(hex(stateKey(address)));
    expect(hex(writer.field('f'))).toBe(hex(fieldKey(address, 'f')));
  });
});
