/** What the documents say in tables is what the code does. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { DEFAULTS } from './cli/settings.ts';
import { operationRegistry } from './engine/aggregators/operation-registry.ts';
import {
  GROUPS_MAX,
  LAST_EVENTS_MAX,
  STATE_BYTES_MAX,
  STATE_BYTES_MIN,
} from './engine/definitions/check-view.ts';
import { ENTITY_KEY_MAX_BYTES } from './engine/definitions/entity-key.ts';
import { DEFAULT_MAX_STATE_BYTES } from './engine/definitions/feature-view.ts';
import { SHIFTS } from './engine/tiles/grid.ts';
import { DEFAULT_TILE_SHAPE } from './engine/tiles/tile-shape.ts';

import { SERIES_MAX } from './engine/windows/window-reach.ts';

import { PUSH_TIMEOUT_MS } from './ingest/log/kafka/topic-writer.ts';

import { DEFAULT_CONSUMER_OPTIONS } from './ingest/partition-consumer.ts';
import { aggregationsPage } from './scripts/aggregations-page.ts';
import { DEFAULT_APP_LIMITS } from './serve/app.ts';

const root = dirname(fileURLToPath(import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Rows of the table under a heading line, as cells. */
function tableAfter(document: string, header: string): string[][] {
  const lines = document.slice(document.indexOf(header)).split('\n');
  const rows: string[][] = [];
  for (const line of lines.slice(2)) {
    if (!line.startsWith('|')) break;
    // `\|` inside a cell is no border.
    rows.push(
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  }
  expect(rows.length).toBeGreaterThan(0);
  return rows;
}

const codeNames = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);

describe('README', () => {
  test('lists every aggregation of the registry, with its empty answer', () => {
    const rows = tableAfter(read('README.md'), '| aggregation |');
    const listed = rows.flatMap((row) => codeNames(row[0]!));
    expect(listed.sort()).toEqual([...operationRegistry.keys()].sort());
    for (const row of rows) {
      const answers = row[3]!.split(', ');
      codeNames(row[0]!).forEach((name, i) => {
        expect(String(operationRegistry.get(name)!.empty), name).toBe(answers[i] ?? answers[0]);
      });
    }
  });

  test('says over which windows an aggregation is not to be had', () => {
    for (const row of tableAfter(read('README.md'), '| aggregation |')) {
      for (const name of codeNames(row[0]!)) {
        const { sequence = false, needsLength = false } = operationRegistry.get(name)!;
        const over = needsLength
          ? 'all but lifetime, last events'
          : sequence
            ? 'all but lifetime'
            : 'every window';
        expect(row[4], name).toBe(over);
      }
    }
  });

  test('says what every dependency is for', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    const listed = tableAfter(read('README.md'), '| package |').flatMap((row) => codeNames(row[0]!));
    const named = (name: string): boolean =>
      listed.includes(name) || (name.startsWith('@types/') && listed.includes('@types/*'));
    const used = [...Object.keys(manifest.dependencies!), ...Object.keys(manifest.devDependencies!)];
    expect(used.filter((name) => !named(name))).toEqual([]);
    expect(listed.filter((name) => name !== '@types/*' && !used.includes(name))).toEqual([]);
  });

  test('has commands that work one after the other, in a clone that has nothing beside it', () => {
    const readme = read('README.md');
    const blocks = [...readme.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block!);
    for (const block of blocks) expect(block).not.toContain('../');
    const deploy = blocks.find((block) => block.includes('npm run services'))!;
    // Pushing, reading, replay and get go to the default port.
    expect(readme).toContain(`curl -s localhost:${DEFAULTS.port}/v1/services/`);
    const ports = [...deploy.matchAll(/npx millrace (\w+)(?:.* --port (\d+))?/g)].map(
      ([, role, port]) => [role!, Number(port ?? DEFAULTS.port)] as const,
    );
    expect(Object.fromEntries(ports)).toEqual({ ingest: 8788, compact: 8789, serve: DEFAULTS.port });
    expect(deploy.indexOf('npm run build')).toBeGreaterThan(deploy.indexOf('npm run services'));
    expect(deploy.indexOf('npm run build')).toBeLessThan(deploy.indexOf('npx millrace'));
  });

  test('gives the time limit of a push', () => {
    const said = `${PUSH_TIMEOUT_MS / 1_000} s`;
    expect(read('README.md')).toContain(`or 503 after ${said}`);
    expect(read('serve/README.md')).toContain(`not acknowledged within ${said}`);
  });

  test('pins every dependency to one version', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies })) {
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    }
  });
});

test('the changelog counts the aggregations', () => {
  expect(read('CHANGELOG.md')).toContain(`${operationRegistry.size} aggregations`);
});

test('docs/aggregations.md is what `npm run docs` makes of the registry', () => {
  expect(read('docs/aggregations.md')).toBe(aggregationsPage());
});

describe('ARCHITECTURE', () => {
  const architecture = read('ARCHITECTURE.md');

  test('gives the bounds that the code has', () => {
    const bounds = new Map(
      tableAfter(architecture, '| what | bound |').map(([what, bound]) => [what!, bound!]),
    );
    expect(bounds.get('entity key')).toContain(ENTITY_KEY_MAX_BYTES.toLocaleString('en'));
    expect(bounds.get('push')).toContain(DEFAULT_APP_LIMITS.events.toLocaleString('en'));
    expect(bounds.get('push')).toContain(`${DEFAULT_APP_LIMITS.bodyBytes / 1024 ** 2} MiB`);
    expect(bounds.get('chunk of a consumer')).toContain(
      DEFAULT_CONSUMER_OPTIONS.chunkRecords.toLocaleString('en'),
    );
    expect(bounds.get('chunk of a consumer')).toContain(
      `${DEFAULT_CONSUMER_OPTIONS.chunkBytes / 1024 ** 2} MiB`,
    );
    expect(bounds.get('state of a key')).toContain(
      `${STATE_BYTES_MIN / 2 ** 10} KiB to ${STATE_BYTES_MAX / 2 ** 30} GiB, ${DEFAULT_MAX_STATE_BYTES / 2 ** 20} MiB by default`,
    );
    expect(bounds.get('values of a secondary key')).toBe(GROUPS_MAX.toLocaleString('en'));
    expect(bounds.get('last events')).toBe(`${LAST_EVENTS_MAX}`);
    expect(bounds.get('windows of a series')).toBe(`${SERIES_MAX}`);
    expect(bounds.get('live tail')).toContain(`${DEFAULT_TILE_SHAPE.tailRowsMax} rows`);
    expect(bounds.get('leaf, or inline rows of a node')).toContain(
      `${DEFAULT_TILE_SHAPE.leafBytesMax / 1024} kB`,
    );
    expect(bounds.get('recent ids in a state')).toContain(
      DEFAULT_TILE_SHAPE.recentIdsMax.toLocaleString('en'),
    );
  });

  test('names the levels of the grid', () => {
    const sentence = architecture.slice(
      architecture.indexOf('s = 30'),
      architecture.indexOf('below the root, which'),
    );
    const named = [...sentence.replaceAll(/\([^)]*\)/g, '').matchAll(/\d+/g)].map(Number);
    expect(named).toEqual(SHIFTS);
  });

  test('imports between folders go only where the table allows', () => {
    const allowed = new Map<string, string[]>();
    for (const [folder, , uses] of tableAfter(architecture, '| folder |')) {
      const name = codeNames(folder!)[0]!.replace('/', '');
      allowed.set(name, uses === 'all of the above' ? [...allowed.keys()] : codeNames(uses!));
    }
    const found: string[] = [];
    for (const [folder, uses] of allowed) {
      for (const file of sources(join(root, folder))) {
        for (const [, target] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)'/g)) {
          const to = relative(root, join(dirname(file), target!)).split('/')[0]!;
          if (to !== folder && !uses.includes(to)) found.push(`${relative(root, file)} → ${target}`);
        }
      }
    }
    expect(found).toEqual([]);
  });
});

/** The TypeScript files that ship: no tests, no test helpers. */
function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !/\.(test|contract|test-d|bench)\.ts$|\/testing\//.test(file));
}
