/** What `npm run mutations -- --real` needs, looked at in moments: the run itself takes minutes. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { PARTS } from './disabled-parts.ts';
import { plantedIn, SOURCE_MUTATIONS } from './source-mutations.ts';

const at = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

test.each(Object.keys(SOURCE_MUTATIONS))(
  '%s: what it replaces is there exactly once, and so are its tests',
  (name) => {
    const { file, tests } = SOURCE_MUTATIONS[name]!;
    const source = readFileSync(at(file), 'utf8');
    expect(plantedIn(source, name)).not.toBe(source);
    expect(tests.length).toBeGreaterThan(0);
    for (const path of tests) expect(existsSync(at(path)), path).toBe(true);
  },
);

test('a text that is there twice, or not at all, is refused', () => {
  const [name, { original }] = Object.entries(SOURCE_MUTATIONS)[0]!;
  expect(() => plantedIn(original + original, name)).toThrow('occurs 2 times');
  expect(() => plantedIn('', name)).toThrow('occurs 0 times');
});

test('each part of the protocol is disabled in the sources, and in the simulator', () => {
  const disabled = new Set(Object.values(SOURCE_MUTATIONS).map(({ disables }) => disables));
  expect([...disabled].sort()).toEqual(Object.keys(PARTS).sort());
  for (const [part, mutations] of Object.entries(PARTS)) expect(mutations.length, part).toBeGreaterThan(0);
});
