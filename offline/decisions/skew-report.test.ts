import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { SkewReport } from './skew.ts';
import { SKEW_METRICS, skewJson, skewMetrics } from './skew-report.ts';

const page = readFileSync(new URL('../../docs/observability.md', import.meta.url), 'utf8');

const report: SkewReport = {
  service: 'fraud',
  views: new Map([['spend', '0123456789abcdef']]),
  ...{ rows: 10, seed: 1, tolerance: 1e-9, lagMs: 100, files: 2, openFiles: 1 },
  decisions: {
    ...{ records: 30, ofService: 20, sampled: 10, computed: 9 },
    leftOut: new Map([['event_differs', 1]]),
  },
  unknownKeys: new Map([['card', 2]]),
  ...{ missingEvents: 0, afterHistory: 0, knowsArrivals: true, matchRate: 0.75 },
  features: [
    {
      ...{
        feature: 'odd "name"\\',
        type: 'double',
        compared: 8,
        equal: 6,
        differing: 2,
        matchRate: 0.75,
        late: 1,
      },
      notCompared: new Map([['stale', 3]]),
      worst: {
        ...{
          absolute: 1,
          relative: 0.5,
          record: 'r-1',
          request: 'q',
          row: 0,
          atMs: 0,
          logged: '1',
          computed: '2',
        },
      },
    },
  ],
};

test('the metrics are the table of docs/observability.md', () => {
  const lines = page.split('\n');
  const rows = lines.slice(lines.indexOf('| name | unit | labels | meaning |') + 2);
  expect(rows.slice(0, rows.indexOf(''))).toEqual(
    SKEW_METRICS.map(
      ({ name, unit, labels, meaning }) =>
        `| \`${name}\` | ${unit} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${meaning} |`,
    ),
  );
});

test('metrics are of every name of the table, with its labels, escaped', () => {
  const lines = skewMetrics(report, 1_500).trimEnd().split('\n');
  for (const { name, labels, meaning } of SKEW_METRICS) {
    const at = lines.indexOf(`# HELP ${name} ${meaning}`);
    expect(lines[at + 1]).toBe(`# TYPE ${name} gauge`);
    const given = [...lines[at + 2]!.matchAll(/(\w+)="/g)].map(([, label]) => label);
    expect([name, lines[at + 2]!.startsWith(`${name}{`), given]).toEqual([name, true, labels]);
  }
  expect(lines).toContain('millrace_skew_values_matched{service="fraud",feature="odd \\"name\\"\\\\"} 6');
  expect(lines).toContain(
    'millrace_skew_values_not_compared{service="fraud",feature="odd \\"name\\"\\\\",status="stale"} 3',
  );
  expect(lines).toContain('millrace_skew_decisions_left_out{service="fraud",reason="event_differs"} 1');
  expect(lines).toContain('millrace_skew_decisions_left_out{service="fraud",reason="other_secret"} 0');
  expect(lines).toContain('millrace_skew_run_timestamp_seconds{service="fraud"} 1.5');
});

test('as JSON it has everything', () => {
  expect(JSON.parse(JSON.stringify(skewJson(report, 1_500)))).toEqual({
    ...{ service: 'fraud', finished: '1970-01-01T00:00:01.500Z', match_rate: 0.75 },
    ...{ rows: 10, seed: 1, tolerance: 1e-9, lag_ms: 100, knows_arrivals: true },
    views: { spend: '0123456789abcdef' },
    decisions: {
      ...{ files: 2, open_files: 1, records: 30, of_service: 20, sampled: 10, computed: 9 },
      ...{ left_out: { event_differs: 1 }, unknown_keys: { card: 2 }, missing_events: 0, after_history: 0 },
    },
    features: [
      {
        ...{
          feature: 'odd "name"\\',
          type: 'double',
          match_rate: 0.75,
          compared: 8,
          equal: 6,
          differing: 2,
          late: 1,
        },
        not_compared: { stale: 3 },
        worst: {
          ...{ absolute: 1, relative: 0.5, record: 'r-1', request: 'q', row: 0, logged: '1', computed: '2' },
          at: '1970-01-01T00:00:00.000Z',
        },
      },
    ],
  });
});
