/** The tables of README.md are what the code does, and every error of the catalogue is provoked by a test. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { openInMemory } from '../embedded/runtime.ts';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { decisionLine } from './decision-log/decision-record.ts';
import { KeyHash } from './decision-log/key-hash.ts';
import { API_ERRORS, ApiError, type ErrorEntry } from './error-catalogue.ts';
import { METRICS } from './metrics.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const readme = readFileSync(join(here, 'README.md'), 'utf8');

/** Rows of the table whose header begins with these cells. */
function table(...header: string[]): string[][] {
  const lines = readme.split('\n');
  const start = lines.indexOf(`| ${header.join(' | ')} |`);
  expect(start).toBeGreaterThan(0);
  const rows: string[][] = [];
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}

const bare = (cell: string): string => cell.replaceAll('`', '');

describe('the error catalogue', () => {
  const entries: readonly ErrorEntry[] = API_ERRORS;

  test('is the table of the README', () => {
    expect(table('code', 'status', 'retryable', 'meaning')).toEqual(
      entries.map(({ code, status, retryable, meaning }) => [
        `\`${code}\``,
        String(status),
        retryable ? 'yes' : 'no',
        meaning,
      ]),
    );
  });

  test('has each code once, and errors carry what it says', () => {
    expect(new Set(entries.map(({ code }) => code)).size).toBe(entries.length);
    for (const { code, status, retryable } of API_ERRORS) {
      const error = new ApiError(code, 'message', { field: 'x' });
      expect([error.status, error.retryAfter !== null]).toEqual([status, retryable]);
      expect(error.body()).toEqual({ error: { code, message: 'message', details: { field: 'x' } } });
      expect(status >= 400 && status < 600).toBe(true);
    }
  });

  test('has no code that no test provokes', () => {
    const tests = ['serve', 'embedded', 'distributed']
      .flatMap((folder) =>
        readdirSync(join(here, '..', folder), { recursive: true, encoding: 'utf8' })
          .filter((file) => file.endsWith('.test.ts') && !file.endsWith('readme.test.ts'))
          .map((file) => readFileSync(join(here, '..', folder, file), 'utf8')),
      )
      .join('\n');
    expect(entries.map(({ code }) => code).filter((code) => !tests.includes(`'${code}'`))).toEqual([]);
  });
});

describe('the metrics', () => {
  test('are the table of the README', () => {
    expect(table('name', 'type', 'unit', 'labels', 'meaning').map((row) => row.map(bare))).toEqual(
      METRICS.map(({ name, type, unit, labels, meaning }) => [
        name,
        type,
        unit,
        labels.join(', '),
        bare(meaning),
      ]),
    );
  });

  test('have names in the style of Prometheus', () => {
    for (const { name, type } of METRICS) {
      expect(name).toMatch(/^millrace_[a-z_]+$/);
      expect(name.endsWith('_total')).toBe(type === 'counter');
    }
  });
});

test('the routes are the table of the README', async () => {
  const engine = await openInMemory({ repo: testRepo });
  const { paths } = (await engine.app.inject('/openapi.json')).json();
  await engine.close();
  const served = Object.entries(paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(
    table('route', 'what it does')
      .map(([route]) => bare(route!))
      .sort(),
  ).toEqual(served.sort());
});

describe('the decision log', () => {
  const fields = table('field', 'type', 'meaning').map(
    ([field, type]) => [bare(field!), bare(type!)] as const,
  );
  const keys = new Map([['card', 'c1']]);
  const answer = { value: 1.5, status: 'present', truncated: false, window: null } as const;
  const row = { place: 2, keys, request: { amount: 1 }, atMs: NOON_MS, event: null, answers: [answer] };
  const decision = {
    requestId: 'request-1',
    answeredMs: NOON_MS,
    reader: { service: testRepo.services.get('card')!, output: [{ name: 'amount_sum_1h', slot: 0 }] },
    row,
  };
  const event = { source: 'payments', id: 'p1', timeMs: NOON_MS, ingested: 'recorded' } as const;
  const terms = { instance: '0123456789abcdef', sample: 0.5 };
  const records = [
    decisionLine(decision, 1, { ...terms, hash: null }),
    decisionLine({ ...decision, row: { ...row, event } }, 2, { ...terms, hash: new KeyHash('a secret') }),
  ].map((line) => JSON.parse(line));

  test('has the fields of the table, in its order, of its types', () => {
    for (const record of records) {
      expect(Object.keys(record)).toEqual(fields.map(([field]) => field));
      for (const [field, type] of fields)
        expect([field, isOfType(record[field], type)]).toEqual([field, true]);
    }
    // null is of every type.
    for (const [field] of fields)
      expect([field, records.some((record) => record[field] !== null)]).toEqual([field, true]);
  });

  test('is read with the types of the table where the README asks for it in SQL', () => {
    const query = readme.slice(readme.indexOf("read_json('DIR/*.ndjson'"));
    const given = [...query.slice(0, query.indexOf('})')).matchAll(/(\w+): '([^']+)'/g)];
    expect(given.length).toBeGreaterThan(2);
    for (const [, field, type] of given) expect(fields).toContainEqual([field, type]);
  });
});

/** Whether JSON is what DuckDB takes for a value of the type. */
function isOfType(value: unknown, type: string): boolean {
  if (value === null) return true;
  const parts = /^(STRUCT|MAP)\((.*)\)$/.exec(type);
  if (parts?.[1] === 'STRUCT') {
    const fields = parts[2]!.split(', ').map((part) => part.split(' '));
    return (
      Object.keys(value as object).join() === fields.map(([name]) => name).join() &&
      Object.values(value as object).every((own, i) => isOfType(own, fields[i]![1]!))
    );
  }
  if (parts?.[1] === 'MAP') return Object.values(value as object).every((own) => isOfType(own, 'VARCHAR'));
  switch (type) {
    case 'VARCHAR':
      return typeof value === 'string';
    case 'INTEGER':
      return Number.isInteger(value) && Math.abs(value as number) < 2 ** 31;
    case 'BIGINT':
      return Number.isSafeInteger(value);
    case 'DOUBLE':
      return typeof value === 'number';
    case 'JSON':
      return typeof value === 'object';
    default:
      return false;
  }
}
