/** npm run docs: writes what is made from the code: tables of README.md, the page of aggregations, schemas. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { withConfigTable } from '../cli/config-table.ts';
import { aggregationsPage } from './aggregations-page.ts';
import { exampleSchemas } from './write-schemas.ts';

const readme = new URL('../README.md', import.meta.url);
writeFileSync(readme, withConfigTable(readFileSync(readme, 'utf8')));
mkdirSync(new URL('../docs/', import.meta.url), { recursive: true });
writeFileSync(new URL('../docs/aggregations.md', import.meta.url), aggregationsPage());
for (const [name, content] of await exampleSchemas()) {
  writeFileSync(new URL(`../schemas/${name}`, import.meta.url), content);
}
