import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidAddressError } from '../state-address.ts';
import { StoreSetupError } from '../store-errors.ts';
import {
  addressOfDueMember,
  dueMember,
  layoutKey,
  RedisKeys,
  recordsKey,
  watermarkField,
} from './redis-keys.ts';

const SHARDS = 120;
const namespaces = fc.constantFrom('0000000000000000', '0000000000000001', 'ffffffffffffffff');
/** Short keys of few characters: neighbours that differ in one place are likely. */
const texts = fc.oneof(
  fc.string({ unit: fc.constantFrom('\0', 'a', '{', '}', ':', '0', 'é', '😀', '\u{FEFF}'), maxLength: 4 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('mr:{1}:s:', '}:s:0000000000000000:a', 'layout', '0000000000000000:a'),
);
const shards = fc.constantFrom(0, 1, 2, 11, 12, 111);
const prefixes = fc.constantFrom('mr', 'mr1', 'm', '0', '11');
const addresses = fc.record({ namespace: namespaces, key: texts, shard: shards });
const names = fc.record({
  namespace: namespaces,
  source: texts,
  partition: fc.constantFrom(0, 1, 11, 65_535),
});
const hex = (text: string): string => Buffer.from(text).toString('hex');

/** What Redis hashes: from the first `{` to the first `}` behind it. */
const hashTag = (key: string): string => /\{([^}]*)\}/.exec(key)![1]!;

describe('Redis keys', () => {
  it('of states, watermarks, due indexes, layouts and records are never equal', () => {
    const entries = fc.oneof(
      fc.record({ prefix: prefixes, kind: fc.constant('state' as const), address: addresses }),
      fc.record({
        prefix: prefixes,
        kind: fc.constantFrom('watermarks' as const, 'due' as const),
        shard: shards,
      }),
      fc.record({ prefix: prefixes, kind: fc.constantFrom('layout' as const, 'records' as const) }),
    );
    const keyOf = (entry: typeof entries extends fc.Arbitrary<infer T> ? T : never): string => {
      const keys = new RedisKeys(entry.prefix, SHARDS);
      if (entry.kind === 'state') return keys.state(entry.address);
      if ('shard' in entry) return keys.shard(entry.shard)[entry.kind];
      return entry.kind === 'layout' ? layoutKey(entry.prefix) : recordsKey(entry.prefix);
    };
    fc.assert(
      fc.property(entries, entries, (a, b) => {
        expect(hex(keyOf(a)) === hex(keyOf(b))).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 5000, seed: 1 },
    );
  });

  it('of one shard have one hash tag, which no entity key changes', () => {
    fc.assert(
      fc.property(prefixes, addresses, (prefix, address) => {
        const keys = new RedisKeys(prefix, SHARDS);
        const { watermarks, due } = keys.shard(address.shard);
        for (const key of [keys.state(address), watermarks, due]) {
          expect(hashTag(key)).toBe(String(address.shard));
        }
      }),
      { numRuns: 2000, seed: 2 },
    );
  });

  it('of watermarks within their hash are injective', () => {
    fc.assert(
      fc.property(names, names, (a, b) => {
        expect(hex(watermarkField(a)) === hex(watermarkField(b))).toBe(
          JSON.stringify(a) === JSON.stringify(b),
        );
      }),
      { numRuns: 5000, seed: 3 },
    );
  });

  it('of states end with their due member, which decodes to the address', () => {
    fc.assert(
      fc.property(addresses, (address) => {
        const keys = new RedisKeys('mr', SHARDS);
        const member = dueMember(address);
        expect(addressOfDueMember(address.shard, Buffer.from(member))).toEqual(address);
        // The script cuts the member out of the key, two bytes further than the due index is long.
        const key = Buffer.from(keys.state(address));
        expect(key.subarray(keys.shard(address.shard).due.length + 1)).toEqual(Buffer.from(member));
      }),
      { numRuns: 2000, seed: 4 },
    );
  });

  it('refuse prefixes that could break the layout, and shards there are none of', () => {
    for (const prefix of ['', 'a:b', 'a{b', 'a}', 'ä', 'a b', 'x'.repeat(65)]) {
      expect(() => new RedisKeys(prefix, 1)).toThrow(StoreSetupError);
    }
    expect(() => new RedisKeys('mr', 16).shard(16)).toThrow(InvalidAddressError);
  });
});
