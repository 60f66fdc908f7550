/** npm run docs: writes the tables of README.md that are made from the code. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withConfigTable } from '../cli/config-table.ts';

const readme = new URL('../README.md', import.meta.url);
writeFileSync(readme, withConfigTable(readFileSync(readme, 'utf8')));
