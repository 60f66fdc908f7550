import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SCHEMA_FILE_SUFFIX } from '../ingest/decoding/subject-schemas.ts';
import { exampleSchemas } from '../scripts/write-schemas.ts';

const folder = new URL('.', import.meta.url);
const suffixes = Object.values(SCHEMA_FILE_SUFFIX);

test('the schemas are those of the example sources (npm run docs writes them)', async () => {
  const expected = await exampleSchemas();
  const present = readdirSync(folder).filter((name) => suffixes.some((suffix) => name.endsWith(suffix)));
  expect(present.sort()).toEqual([...expected.keys()].sort());
  for (const [name, content] of expected) {
    const written = readFileSync(new URL(name, folder), 'utf8');
    // Of JSON the formatter decides about line breaks.
    if (name.endsWith('.proto')) expect(written, name).toBe(content);
    else expect(JSON.parse(written), name).toEqual(JSON.parse(content));
  }
});
