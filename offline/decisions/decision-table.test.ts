import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { testRepo } from '../../embedded/testing/test-repo.ts';
import { DuckDb } from '../duckdb.ts';
import { decisionLogFiles } from './decision-files.ts';
import { DECISIONS, readDecisions } from './decision-table.ts';

let dir: string;
let db: DuckDb;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-decisions-'));
  db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 2, spillDir: dir });
});
afterEach(() => {
  db.close();
  rmSync(dir, { recursive: true });
});

const service = testRepo.services.get('card')!;
const views = Object.fromEntries(service.views.map(({ view }) => [view.name, view.namespace]));

function writeLog(names: readonly string[], count: number): void {
  names.forEach((name, f) => {
    const lines = Array.from({ length: count }, (_, i) =>
      JSON.stringify({
        ...{ record: `${f}-${i}`, request: 'q', row: 0, service: 'card', views, secret_id: null },
        ...{ entities: { card: 'c1' }, at_ms: i, answered_ms: count - i, event: null, request_data: {} },
        ...{ features: { hour: 0 }, statuses: { hour: 'present' }, sample: 1 },
      }),
    );
    writeFileSync(join(dir, name), `${lines.join('\n')}\n`);
  });
}

async function sampled(rows: number, seed: number): Promise<unknown[]> {
  const files = await decisionLogFiles(dir);
  const table = { ...{ db, service, files, hash: null }, values: true, keepsHashes: false };
  const found = await readDecisions({ ...table, sample: { rows, seed } });
  const records = (await db.rows(`SELECT record FROM ${DECISIONS} ORDER BY n`)).map(({ record }) => record);
  expect(found.rows).toBe(records.length);
  return records;
}

describe('a sample', () => {
  test('is the same for a seed, whatever the files are called, and another for another', async () => {
    writeLog(['a.ndjson', 'b.ndjson'], 200);
    const first = await sampled(20, 1);
    expect(new Set(first).size).toBe(20);
    // Kept as it is: who compares two versions of a program compares the same answers.
    expect(first.slice(0, 3)).toEqual(['1-75', '1-19', '1-68']);
    expect(await sampled(20, 2)).not.toEqual(first);
    expect(await sampled(10, 1)).toEqual(first.slice(0, 10));
    expect((await sampled(1_000, 1)).slice(0, 20)).toEqual(first);
    expect(await sampled(1_000, 1)).toHaveLength(400);
  });
});

describe('files of a log', () => {
  test('are those that are closed', async () => {
    writeLog(['a.ndjson'], 1);
    writeFileSync(join(dir, 'b.ndjson.open'), '{"half of');
    expect(await decisionLogFiles(dir)).toMatchObject({ files: [join(dir, 'a.ndjson')], open: 1 });
    rmSync(join(dir, 'a.ndjson'));
    await expect(decisionLogFiles(dir)).rejects.toThrow(
      /all files of the decision log are still being written/,
    );
  });

  test('are NDJSON', async () => {
    writeFileSync(join(dir, 'a.csv'), 'record\n');
    await expect(decisionLogFiles(dir)).rejects.toThrow(/a decision log is NDJSON, and these files are csv/);
  });
});
