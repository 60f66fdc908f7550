/**
 * The alert rules: promtool reads them and runs the cases of alert-cases.yml. Where it cannot be had, these tests are
 * skipped in the open, also with REQUIRE_SERVICES=1: it is no server that the engine needs. What the rules ask for is held
 * against the table of metrics everywhere.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { checkQuery } from '../testing/check-query.ts';
import { ensurePromtool } from './promtool.ts';

const here = dirname(fileURLToPath(import.meta.url));
const RULES = join(here, 'alerts.yml');
const DASHBOARD = join(here, '../grafana/dashboards/millrace.json');
const page = readFileSync(join(here, '../../docs/observability.md'), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

interface Situation {
  readonly at: string;
  readonly series: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
}

interface Case {
  readonly alert: string;
  readonly fires: Situation & { readonly labels: Readonly<Record<string, string>> };
  readonly silent: Situation;
}

const { groups } = parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap(({ rules: own }) => own);
const cases = parse(readFileSync(join(here, 'alert-cases.yml'), 'utf8')) as Case[];

const found = await ensurePromtool();
const promtool = (...args: readonly string[]) => {
  if ('problem' in found) throw new Error(found.problem);
  const { status, stdout, stderr } = spawnSync(found.path, args, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
};

function withFile<T>(content: object, work: (file: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-alerts-'));
  try {
    const file = join(dir, 'file.yml');
    writeFileSync(file, stringify(content));
    return work(file);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
const check = (kind: 'rules', content: object) => withFile(content, (file) => promtool('check', kind, file));

/** As promtool wants it: whatever is expected is expected with all its annotations. */
function testFile(alert: string, { at, series, labels }: Situation): object {
  const rule = rules.find((other) => other.alert === alert)!;
  return {
    rule_files: [RULES],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        alert_rule_test: [
          {
            eval_time: at,
            alertname: alert,
            exp_alerts:
              labels === undefined
                ? []
                : [
                    {
                      exp_labels: { severity: rule.labels.severity, ...labels },
                      exp_annotations: rule.annotations,
                    },
                  ],
          },
        ],
      },
    ],
  };
}

describe.skipIf('problem' in found)(
  `promtool${'problem' in found ? ` [skipped: ${found.problem}]` : ''}`,
  () => {
    test('accepts configuration and rules', () => {
      expect(promtool('check', 'config', join(here, 'prometheus.yml'))).toMatchObject({ status: 0 });
      const { status, output } = promtool('check', 'rules', RULES);
      expect(output).toContain(`${rules.length} rules found`);
      expect(status).toBe(0);
    });

    test('can read every query of the dashboard', () => {
      const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as {
        panels: { targets?: { expr: string }[] }[];
      };
      const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
      expect(queries.length).toBeGreaterThan(20);
      const rules = queries.map((expr, i) => ({
        record: `q${i}`,
        expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*'),
      }));
      expect(check('rules', { groups: [{ name: 'dashboard', rules }] })).toMatchObject({ status: 0 });
      const [first] = rules;
      const broken = { groups: [{ name: 'broken', rules: [{ ...first!, expr: 'sum by (' }] }] };
      expect(check('rules', broken)).toMatchObject({ status: 1 });
    });

    const run = (alert: string, situation: Situation) =>
      withFile(testFile(alert, situation), (file) => promtool('test', 'rules', file));

    const PASSED = { status: 0, output: expect.stringContaining('SUCCESS') };

    test.each(cases)('$alert fires', ({ alert, fires }) => {
      expect(run(alert, fires)).toEqual(PASSED);
    });

    test.each(cases)('$alert stays silent', ({ alert, silent }) => {
      expect(run(alert, silent)).toEqual(PASSED);
    });

    test('would say so of a case that is wrong', () => {
      const { alert, fires } = cases[0]!;
      expect(run(alert, { at: fires.at, series: fires.series })).toMatchObject({ status: 1 });
    });
  },
);

describe('alerts.yml', () => {
  test('asks for metrics and labels that there are', () => {
    expect(rules.length).toBeGreaterThan(10);
    for (const { alert, expr } of rules) expect(checkQuery(expr), alert).toEqual([]);
    for (const { alert, fires, silent } of cases) {
      for (const series of [...Object.keys(fires.series), ...Object.keys(silent.series)]) {
        expect(checkQuery(series), alert).toEqual([]);
      }
    }
  });

  test('has a case for every alert, and every alert once', () => {
    const names = rules.map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
    expect(cases.map(({ alert }) => alert)).toEqual(names);
  });

  test('says what each means, how urgent it is and where to read on', () => {
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^Millrace[A-Z]/);
      expect(['page', 'ticket']).toContain(labels.severity);
      expect(annotations.summary).toMatch(/\.$/);
      expect(annotations.description.length).toBeGreaterThan(40);
      expect(annotations.runbook).toBe(`docs/observability.md#${alert.toLowerCase()}`);
      const section = page.slice(page.indexOf(`### ${alert}\n`)).split('\n##')[0]!;
      expect(section.replaceAll(/\s+/g, ' ')).toContain(annotations.description);
    }
  });

  test('is the table of docs/observability.md', () => {
    const lines = page.split('\n');
    const rows = lines.slice(lines.indexOf('| alert | severity | when |') + 2);
    const table = rows.slice(0, rows.indexOf('')).map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
    expect(table).toEqual(
      rules.map(({ alert, labels, annotations }) => [
        `[${alert}](#${alert.toLowerCase()})`,
        labels.severity,
        annotations.summary,
      ]),
    );
  });
});
