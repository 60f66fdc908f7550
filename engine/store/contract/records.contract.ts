/** Records: a text by name, replaced by compare-and-set. */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { InvalidAddressError } from '../state-address.ts';
import { type OpenedStore, token } from '../testing/opened-store.ts';
import type { Token } from '../tile-store.ts';

export function describeRecords(opened: OpenedStore): void {
  describe('records', () => {
    const fresh = (): string => `contract:${randomUUID()}`;
    const record = (n: number, content = `text ${n}`) => ({ token: token(n), text: content });
    const set = (name: string, expected: Token | null, n: number) =>
      opened.store.compareAndSetRecord({ name, expected, next: record(n) });

    it('are made only where none is expected, and replaced only under their present token', async () => {
      const [name, other] = [fresh(), fresh()];
      expect(await opened.store.readRecords([])).toEqual([]);
      expect(await opened.store.readRecords([name, other])).toEqual([null, null]);
      expect(await set(name, token(1), 1)).toBe(false);
      expect(await set(name, null, 1)).toBe(true);
      expect(await set(name, null, 2)).toBe(false);
      expect(await set(name, token(2), 2)).toBe(false);
      expect(await opened.store.readRecords([other, name, name])).toEqual([null, record(1), record(1)]);
      expect(await set(name, token(1), 2)).toBe(true);
      expect(await set(name, token(1), 3)).toBe(false);
      expect(await opened.store.readRecords([name])).toEqual([record(2)]);
    });

    it('keep any text as it is, up to 16 KiB', async () => {
      const texts = ['', '\u{FEFF}ä\0😀}', 'é'.repeat(8 * 1024)];
      for (const content of texts) {
        const name = fresh();
        expect(
          await opened.store.compareAndSetRecord({ name, expected: null, next: record(1, content) }),
        ).toBe(true);
        expect(await opened.store.readRecords([name])).toEqual([record(1, content)]);
      }
      const refused = [
        { name: fresh(), expected: null, next: record(1, `${texts[2]}x`) },
        { name: 'ä', expected: null, next: record(1) },
        { name: '', expected: null, next: record(1) },
        { name: fresh(), expected: null, next: { token: '1', text: '' } },
      ];
      for (const write of refused) {
        await expect(opened.store.compareAndSetRecord(write)).rejects.toThrow(InvalidAddressError);
      }
      await expect(opened.store.readRecords(['a b'])).rejects.toThrow(InvalidAddressError);
    });

    it('are won by one of several who write at once', async () => {
      const name = fresh();
      for (let n = 0; n < 10; n++) {
        const expected = n === 0 ? null : (await opened.store.readRecords([name]))[0]!.token;
        const wins = await Promise.all([1, 2, 3].map((i) => set(name, expected, 10 * (n + 1) + i)));
        expect(wins.filter(Boolean)).toHaveLength(1);
        expect(await opened.store.readRecords([name])).toEqual([
          record(10 * (n + 1) + wins.indexOf(true) + 1),
        ]);
      }
    });
  });
}
