import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { exampleSchemas } from '../scripts/write-schemas.ts';

test('the schemas are those of the example sources (npm run docs writes them)', async () => {
  const folder = new URL('.', import.meta.url);
  const expected = await exampleSchemas();
  const present = readdirSync(folder).filter((name) => name.endsWith('.json'));
  expect(present.sort()).toEqual([...expected.keys()].sort());
  for (const [name, content] of expected) {
    expect(JSON.parse(readFileSync(new URL(name, folder), 'utf8')), name).toEqual(JSON.parse(content));
  }
});
