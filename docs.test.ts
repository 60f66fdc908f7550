/** What the documents say in tables is what the code does. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ARCHIVE_LIMITS } from './archive/archive.ts';
import { NODE_FLAGS } from './bench/roles/engine-process.ts';
import { DEFAULTS } from './cli/settings.ts';
import { operationRegistry } from './engine/aggregators/operation-registry.ts';
import {
  GROUPS_MAX,
  LAST_EVENTS_MAX,
  STATE_BYTES_MAX,
  STATE_BYTES_MIN,
} from './engine/definitions/check-view.ts';
import { ENTITY_KEY_MAX_BYTES } from './engine/definitions/entity-key.ts';
import { DEADLINE_MAX_MS, DEFAULT_DEADLINE } from './engine/definitions/feature-service.ts';
import { DEFAULT_MAX_STATE_BYTES } from './engine/definitions/feature-view.ts';
import { SingleView } from './engine/testing/single-view.ts';
import { SHIFTS } from './engine/tiles/grid.ts';
import { DEFAULT_TILE_SHAPE } from './engine/tiles/tile-shape.ts';

import { parseDurationMs } from './engine/windows/duration.ts';
import { SERIES_MAX } from './engine/windows/window-reach.ts';

import {
  boolean,
  count,
  entity,
  featureView,
  integer,
  lastN,
  rate,
  streamSource,
  timestamp,
} from './index.ts';
import { PUSH_TIMEOUT_MS } from './ingest/log/kafka/topic-writer.ts';

import { DEFAULT_CONSUMER_OPTIONS } from './ingest/partition-consumer.ts';
import { BACKFILL_LIMITS } from './offline/history-states.ts';
import { aggregationsPage } from './scripts/aggregations-page.ts';
import { DEFAULT_APP_LIMITS } from './serve/app.ts';
import { ABANDONED_STATES_MAX } from './serve/deadline-reads.ts';
import { DECISION_BUFFER_BYTES_MAX } from './serve/decision-log/decision-log.ts';
import { toJson } from './serve/json-value.ts';
import { LAST_ANSWERS_BYTES_MAX } from './serve/last-answers.ts';
import { NARROWED_PLANS_MAX } from './serve/service-plans.ts';
import { SCENARIOS } from './test/faults/scenarios.ts';

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
      // `-r.N`: DuckDB's packages count their builds of one DuckDB.
      expect(version).toMatch(/^\d+\.\d+\.\d+(-r\.\d+)?$/);
    }
  });
});

test('benchmarks and load tests run Node as the image does, and as the deployment is told to', () => {
  const options = `NODE_OPTIONS=${NODE_FLAGS.join(' ')}`;
  expect(read('Dockerfile')).toContain(`\nENV ${options}\n`);
  expect(read('README.md')).toContain(`\`${options}\``);
});

test('the changelog counts the aggregations', () => {
  expect(read('CHANGELOG.md')).toContain(`${operationRegistry.size} aggregations`);
});

test('docs/aggregations.md is what `npm run docs` makes of the registry', () => {
  expect(read('docs/aggregations.md')).toBe(aggregationsPage());
});

describe('docs/aggregations.md', () => {
  const page = read('docs/aggregations.md');

  test('calls parameters as a feature repo does, and by no other name', () => {
    for (const { name: operation, params, orderedBy } of operationRegistry.values()) {
      const from = page.indexOf(`### ${operation}\n`);
      const section = page.slice(from, page.indexOf('\n### ', from + 1));
      for (const { name, written = name, option } of params) {
        expect(section, operation).toContain(option ? `\`{ ${written} }\`` : `\`${written}\``);
        if (written !== name) expect(page).not.toContain(name);
      }
      if (orderedBy !== undefined) expect(section).toContain('`{ by }`');
    }
  });

  test('tells the truth about windows, conditions and nulls', async () => {
    const source = streamSource({
      name: 's',
      columns: {
        id: integer(),
        at: timestamp(),
        k: integer(),
        i: integer({ nullable: true }),
        ok: boolean({ nullable: true }),
      },
      eventTime: 'at',
      eventId: 'id',
    });
    const features = {
      last_that_meet: lastN('i', 9).where('ok').lastEvents(3),
      last_of_all: lastN('i', 9).lastEvents(3),
      by_column: count().by('i').over('30d'),
      rate_since: rate().since('day'),
      rate_with_offset: rate().over('1d', { offset: '1d' }),
      series: count().series({ start: '7d', size: '2d' }),
      lifetime_with_offset: count().lifetime({ offset: '1d' }),
    };
    const dayMs = 86_400_000;
    const todayMs = Date.UTC(2024, 0, 10);
    const atMs = todayMs + dayMs / 2;
    const single = new SingleView(featureView({ name: 'v', source, entity: entity('k'), features }), {
      startMs: atMs,
    });
    // Before the oldest window of the series, in the oldest one, in the one before the newest day, and today.
    const ages = [6.5 * dayMs, 5.5 * dayMs, 1.5 * dayMs, 5_000, 4_000, 3_000, 2_000];
    const values = [-1, 9, 10, 100, null, 7, 8];
    const conditions = [true, true, true, false, true, null, false];
    await single.apply(
      ages.map((age, n) => ({ id: n, at: atMs - age, k: 1, i: values[n]!, ok: conditions[n]! })),
    );
    const found = new Map(
      (await single.read('1', atMs)).values.map(({ feature, value }) => [feature.name, value]),
    );
    expect(found.get('last_that_meet')).toEqual([9, 10]);
    expect(found.get('last_of_all')).toEqual([7, 8]);
    expect(JSON.stringify(toJson(found.get('by_column')!))).toBe('{"7":1,"8":1,"9":1,"10":1,"100":1,"-1":1}');
    expect(found.get('rate_since')).toBe(4_000 / (atMs - todayMs + 1));
    expect(found.get('rate_with_offset')).toBe(1_000 / dayMs);
    expect(found.get('series')).toEqual([1, 0, 5]);
    expect(found.get('lifetime_with_offset')).toBe(3);
  });

  test('says in which order events are, and refers to it', () => {
    expect(page).toContain('text ids by a 64-bit hash of the text (XXH64)');
    expect(page).not.toContain('event time, then id');
    for (const name of ['first', 'last_n', 'changes', 'max_by_n', 'last_distinct_n'])
      expect(operationRegistry.get(name)!.accuracy).toContain('in event order');
  });

  test('says what percentiles end with over many decades: 4 % and 6.4 % over 17 of them, as was measured', () => {
    expect(page).toMatch(/^\| 0\.001 \| 0\.43 \| .* \| 6\.4 % \|$/m);
    expect(page).toMatch(/^\| 0\.01 \| 4\.3 \| .* \| 4\.0 % \|$/m);
  });
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
    expect(bounds.get('time for an answer')).toBe(
      `1 ms to ${DEADLINE_MAX_MS / 1_000} s, ${parseDurationMs(DEFAULT_DEADLINE) / 1_000} s by default`,
    );
    expect(bounds.get('narrowed plans of a service')).toBe(`${NARROWED_PLANS_MAX}`);
    expect(bounds.get('states asked for in reads that were given up')).toBe(
      ABANDONED_STATES_MAX.toLocaleString('en'),
    );
    expect(bounds.get('last answers of a service with `staleFor`')).toBe(
      `${LAST_ANSWERS_BYTES_MAX / 2 ** 20} MiB, roughly`,
    );
    expect(bounds.get('answers that wait for the decision log')).toBe(
      `${DECISION_BUFFER_BYTES_MAX / 2 ** 20} MiB, roughly`,
    );
    expect(bounds.get('rows waiting for the archive')).toContain(
      `${ARCHIVE_LIMITS.totalBytes / 2 ** 20} MiB in a process, of which ${ARCHIVE_LIMITS.partitionBytes / 2 ** 20} MiB and ` +
        `${ARCHIVE_LIMITS.rows.toLocaleString('en')} rows`,
    );
    expect(bounds.get("commits kept of a partition's archive")).toBe(`${ARCHIVE_LIMITS.commits}`);
    expect(bounds.get('states that a backfill writes at once')).toBe(
      `${BACKFILL_LIMITS.states}, or ${BACKFILL_LIMITS.bytes / 1024} KiB and the one that goes beyond`,
    );
    expect(bounds.get('events of a key that a backfill has in hand')).toBe(
      BACKFILL_LIMITS.events.toLocaleString('en'),
    );
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

describe('docs/reliability.md', () => {
  const page = read('docs/reliability.md');
  const matrix = tableAfter(page, '| # | fault |');

  test('has a row for every fault, and a test for it', () => {
    expect(matrix.map(([number]) => Number(number))).toEqual(Array.from({ length: 18 }, (_, i) => i + 1));
    for (const [number, , ...tiers] of matrix) {
      expect(
        tiers.flatMap(codeNames).some((name) => name.includes(' › ')),
        `fault ${number}`,
      ).toBe(true);
    }
  });

  test('names tests that are there', () => {
    const named = codeNames(page).filter((name) => name.includes(' › '));
    expect(named.length).toBeGreaterThan(18);
    for (const name of new Set(named)) {
      const [file, title] = name.split(' › ') as [string, string];
      // As the first thing in the parentheses of a call: behind a part that differs from run to run, where there is one.
      const literal = new RegExp(`\\(\\s*['"\`][^'"\`\\n]*${title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`);
      expect(read(file), name).toMatch(literal);
    }
  });

  test('names commands that are there', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...page.matchAll(/`npm run ([\w:-]+)/g)].map(([, script]) => script!);
    expect(named).toContain('faults');
    for (const script of named) expect(scripts).toHaveProperty([script]);
  });

  test('scenarios of faults are the files of test/faults, each with the letter it is chosen by', () => {
    const files = readdirSync(join(root, 'test/faults')).filter((name) => name.endsWith('.test.ts'));
    expect(SCENARIOS.map(({ file }) => `${file}.test.ts`).sort()).toEqual(files.sort());
    for (const { letter, file } of SCENARIOS) {
      expect(read(`test/faults/${file}.test.ts`)).toContain(`faults ${letter} ${file} (`);
      expect(page, file).toContain(`test/faults/${file}.test.ts`);
    }
  });
});

/** The TypeScript files that ship: no tests, no test helpers. */
function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !/\.(test|contract|test-d|bench)\.ts$|\/testing\//.test(file));
}
