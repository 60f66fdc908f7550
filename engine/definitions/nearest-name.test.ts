import { expect, test } from 'vitest';
import { nearestName } from './nearest-name.ts';

const known = ['offset', 'default', 'timeZone', 'exactUpTo', 'max', 'by', 'n'];

test.each([
  ['ofset', 'offset'],
  ['offest', 'offset'],
  ['Offset', 'offset'],
  ['timezone', 'timeZone'],
  ['time_zone', 'timeZone'],
  ['exact_up_to', 'exactUpTo'],
  ['mx', null],
  ['mex', 'max'],
  ['cap', null],
  ['watermark', null],
  ['', null],
  ['x'.repeat(10_000), null],
])('%s: %s', (given, expected) => expect(nearestName(given, known)).toBe(expected));
