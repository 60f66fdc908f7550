/** What README.md says of columns and footers is what is in the files. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import { timestamp } from '../engine/definitions/column.ts';
import { COLUMN_TYPES } from '../engine/definitions/column-value.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import type { Column } from '../engine/definitions/types.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { ARCHIVE_LIMITS, DEFAULT_ARCHIVE_EVERY_MS } from './archive.ts';
import { PATH_COLUMNS, POSITION_COLUMNS } from './archive-columns.ts';
import { ArchiveQuery } from './testing/archive-query.ts';
import { ArchivedLog, archiveAll } from './testing/archived-log.ts';

const readme = await readFile(new URL('./README.md', import.meta.url), 'utf8');

/** Cells of the rows of the table with this head. */
function tableAfter(head: string): string[][] {
  const lines = readme.slice(readme.indexOf(head)).split('\n').slice(2);
  const rows = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith('|')),
  );
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const codeNames = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);

/** As the README calls it. */
function parquetType({ type, converted_type, logical_type }: Readonly<Record<string, unknown>>): string {
  if (converted_type === 'UTF8') return `\`${type}\`, UTF8`;
  if (converted_type !== 'TIMESTAMP_MICROS') return `\`${type}\``;
  expect(logical_type).toContain('isAdjustedToUTC=1');
  return `\`${type}\`, timestamp in µs, \`isAdjustedToUTC\``;
}

test('the tables of columns and of keys in the footer', async () => {
  const columns: Record<string, Column> = { at: timestamp() };
  for (const type of COLUMN_TYPES) columns[`of_${type}`] = { type, nullable: true };
  // The types know no columns made at run time.
  const source = streamSource({ name: 'all', columns, eventTime: 'at' as never });
  const directory = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const log = new MemoryEventLog({ source: 'all', partitions: 1, random: () => 'log' });
  const archived = new ArchivedLog({ source, log, directory, nowMs: 0 });
  const nothing = Object.fromEntries(COLUMN_TYPES.map((type) => [`of_${type}`, null]));
  await archived.append(0, [{ at: 0, ...nothing }]);
  await archiveAll(archived.archiver(archived.archive(), 0), log, 0);

  const query = await ArchiveQuery.open();
  const schema = await query.sql(`SELECT * FROM parquet_schema('${directory}/source=all/*/*.parquet')`);
  const types = new Map(schema.slice(1).map((column) => [String(column.name), parquetType(column)]));
  const rows = tableAfter('| column |');
  const said = new Map<string, string>();
  for (const [column, type] of rows) for (const name of codeNames(column!)) said.set(name, type!);
  const expected = new Map<string, string>();
  for (const type of COLUMN_TYPES) expected.set(type, types.get(`of_${type satisfies ColumnType}`)!);
  for (const name of Object.keys(POSITION_COLUMNS)) expected.set(name, types.get(name)!);
  expect(said).toEqual(expected);

  const keys = await query.sql(
    `SELECT decode(key) AS key FROM parquet_kv_metadata('${directory}/source=all/*/*.parquet')`,
  );
  expect(
    tableAfter('| key in the footer |')
      .flatMap(([key]) => codeNames(key!))
      .sort(),
  ).toEqual(keys.map(({ key }) => key).sort());
});

test('names that a column may not have, and bounds', () => {
  for (const name of [...PATH_COLUMNS, ...Object.keys(POSITION_COLUMNS)]) {
    expect(readme.slice(readme.indexOf('are refused at the start') - 200)).toContain(`\`${name}\``);
  }
  const { totalBytes, partitionBytes, rows, commits } = ARCHIVE_LIMITS;
  expect(readme).toContain(`${totalBytes / 2 ** 20} MiB of them for all partitions`);
  expect(readme).toContain(`up to ${partitionBytes / 2 ** 20} MiB and ${rows.toLocaleString('en')} rows`);
  expect(readme).toContain(`all but the newest ${commits} commits`);
  expect(DEFAULT_ARCHIVE_EVERY_MS).toBe(300_000);
});
