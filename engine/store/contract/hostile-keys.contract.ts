/** Keys and names of every kind: no two are one, and what is refused is refused as a whole. */
import { describe, expect, it } from 'vitest';
import { NOW_MS, type OpenedStore, OTHER_NAMESPACE, token } from '../testing/opened-store.ts';

export function describeHostileKeys(opened: OpenedStore): void {
  const { address, write, see, cas } = opened;

  describe('hostile keys', () => {
    const keys = [
      '',
      ' ',
      '\0',
      '\0\0',
      'a',
      'a\0',
      'a\0b',
      'ab',
      '}',
      '{',
      '{a}',
      'a}b',
      'a:b',
      'a:b:c',
      '*',
      '?',
      '\n',
      '\r\n',
      '😀',
      '😀😀',
      'é',
      'e\u0301',
      '\u{FEFF}',
      '\u{FEFF}a',
      '\uFFFD',
      '__proto__',
      'constructor',
      'ÿ',
      '\u{10FFFF}',
      '0',
      '00',
      'x'.repeat(1024),
      '€'.repeat(341),
    ];

    it('round-trips every well-formed key to its own state', async () => {
      await cas(...keys.map((key, i) => write(address(key), null, i + 1, { a: `field of ${i}` })));
      for (const [i, key] of keys.entries()) {
        expect(await see(address(key), ['a'])).toEqual({
          token: token(i + 1),
          head: `head ${i + 1}`,
          fields: [`field of ${i}`],
        });
      }
    });

    it('gives them back from the due index as they are', async () => {
      await cas(...keys.map((key, i) => ({ ...write(address(key), null, 1), dueMs: NOW_MS + i })));
      const entries = await opened.store.leaseDue({
        shard: opened.shard,
        nowMs: NOW_MS + keys.length,
        leaseUntilMs: NOW_MS * 2,
        limit: 1000,
      });
      expect(entries.map((entry) => entry.address)).toEqual(keys.map((key) => address(key)));
    });

    it('refuses lone surrogates, which UTF-8 would make equal', async () => {
      for (const key of ['\uD800', '\uDC00', 'a\uD83D', '\uDE00\uD83D']) {
        await expect(opened.store.read([{ address: address(key), fields: [] }])).rejects.toThrow(
          /lone surrogate/,
        );
        await expect(cas(write(address(key), null, 1))).rejects.toThrow(/lone surrogate/);
      }
    });

    it('refuses keys of more than 1024 UTF-8 bytes, without echoing them', async () => {
      for (const key of ['x'.repeat(1025), '€'.repeat(342), '😀'.repeat(257)]) {
        const error = await cas(write(address(key), null, 1)).then(
          () => null,
          (reason: Error) => reason,
        );
        expect(error?.message).toMatch(/1024/);
        expect(error?.message).not.toContain(key.slice(0, 4));
      }
    });

    it('refuses field names, tokens and namespaces of another shape, and then writes nothing of the call', async () => {
      const good = write(address('good'), null, 1);
      for (const field of ['', 'a b', 'a\0', 'ü', 'x'.repeat(17), '}']) {
        await expect(cas(good, write(address('k'), null, 1, { [field]: 'x' }))).rejects.toThrow(/field name/);
        await expect(opened.store.read([{ address: address('k'), fields: [field] }])).rejects.toThrow(
          /field name/,
        );
      }
      for (const bad of ['', '1', 'G000000000000000', 'A000000000000000', '00000000000000001']) {
        await expect(cas(good, write(address('k'), bad, 1))).rejects.toThrow(/token/);
        await expect(cas(good, write(address('k', { namespace: bad }), null, 1))).rejects.toThrow(
          /namespace/,
        );
      }
      expect((await see(address('good'))).token).toBeNull();
    });

    it('keeps namespaces apart', async () => {
      await cas(write(address('k'), null, 1), write(address('k', { namespace: OTHER_NAMESPACE }), null, 2));
      expect((await see(address('k'))).token).toBe(token(1));
      expect((await see(address('k', { namespace: OTHER_NAMESPACE }))).token).toBe(token(2));
    });
  });
}
