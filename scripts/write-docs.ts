/** npm run docs: writes what is made from the code: tables of README.md, schemas. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withConfigTable } from '../cli/config-table.ts';
import { exampleSchemas } from './write-schemas.ts';

const readme = new URL('../README.md', import.meta.url);
writeFileSync(readme, withConfigTable(readFileSync(readme, 'utf8')));
for (const [name, content] of await exampleSchemas()) {
  writeFileSync(new URL(`../schemas/${name}`, import.meta.url), content);
}
