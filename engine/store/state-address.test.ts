import { expect, test } from 'vitest';
import { checkFieldName, InvalidAddressError } from './state-address.ts';

test('a field name is what this pattern says, unit by unit and length by length', () => {
  const pattern = /^[A-Za-z0-9:]{1,16}$/;
  const isTaken = (field: string): boolean => {
    try {
      checkFieldName(field);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidAddressError);
      return false;
    }
  };
  const wrong: string[] = [];
  const compare = (field: string): void => {
    if (isTaken(field) !== pattern.test(field)) wrong.push(JSON.stringify(field));
  };
  for (let unit = 0; unit <= 0xffff; unit++) {
    const text = String.fromCharCode(unit);
    compare(text);
    // At the start and at the end; a pattern with `$` and without `m` does not take a line break there.
    if (unit < 0x100) for (const field of [`${text}a`, `a${text}`]) compare(field);
  }
  for (let length = 0; length <= 20; length++) compare('a'.repeat(length));
  expect(wrong).toEqual([]);
});
