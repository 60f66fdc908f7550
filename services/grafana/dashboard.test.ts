/**
 * The dashboard and its provisioning. Grafana itself is not run: what is checked is that every panel asks for what there is,
 * of the data source that is provisioned, and that docker-compose.yml mounts what the files name.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { STAGES } from '../../serve/stage-timings.ts';
import { checkQuery } from '../testing/check-query.ts';

const here = dirname(fileURLToPath(import.meta.url));
const read = (path: string): string => readFileSync(join(here, path), 'utf8');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
    readonly datasource: { readonly uid: string };
  }[];
}

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition: string }[] };
}

const dashboard = JSON.parse(read('dashboards/millrace.json')) as Dashboard;
const graphs = dashboard.panels.filter(({ type }) => type !== 'row');
const { datasources } = parse(read('provisioning/datasources/prometheus.yml')) as {
  datasources: { uid: string; url: string }[];
};

test('every panel asks for metrics and labels that there are', () => {
  expect(graphs.length).toBeGreaterThan(20);
  for (const { title, targets = [] } of graphs) {
    expect(targets.length, title).toBeGreaterThan(0);
    for (const { expr } of targets) expect(checkQuery(expr), title).toEqual([]);
  }
  for (const { definition } of dashboard.templating.list) {
    const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(definition)!;
    expect(checkQuery(`${metric}{${label}=""}`)).toEqual([]);
  }
});

test('the check would notice', () => {
  expect(checkQuery('rate(millrace_nothing_total[5m])')).toEqual(['there is no millrace_nothing_total']);
  expect(checkQuery('millrace_feature_stage_seconds{service="x"}')).toEqual([
    'there is no millrace_feature_stage_seconds',
  ]);
  expect(checkQuery('millrace_ready{source="x"}')).toEqual(['millrace_ready has no label source']);
  expect(checkQuery('sum by (view) (millrace_ready)')).toEqual(['nothing has view']);
  expect(checkQuery('millrace_feature_request_seconds_bucket{le="0.011"}')).toEqual([
    'millrace_feature_request_seconds_bucket has no bucket 0.011',
  ]);
  expect(checkQuery('vector(1)')).toEqual(['it selects nothing']);
});

test('variables that are used are there', () => {
  const used = new Set(
    graphs.flatMap(({ targets = [] }) =>
      targets.flatMap(({ expr }) => [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name!)),
    ),
  );
  used.delete('__rate_interval');
  expect([...used].sort()).toEqual(dashboard.templating.list.map(({ name }) => name).sort());
});

test('panels are told apart and do not lie on each other', () => {
  const ids = dashboard.panels.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const taken = new Set<string>();
  for (const { title, gridPos } of dashboard.panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      expect(x, title).toBeLessThan(24);
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(taken.has(`${x} ${y}`), title).toBe(false);
        taken.add(`${x} ${y}`);
      }
    }
  }
  for (const { title, targets = [] } of graphs) {
    const refs = targets.map(({ refId }) => refId);
    expect(new Set(refs).size, title).toBe(refs.length);
  }
});

test('legends name labels that the results have', () => {
  for (const { title, targets = [] } of graphs) {
    for (const { expr, legendFormat } of targets) {
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        // Grouped by it, or not grouped at all.
        const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].map(([, by]) => by!.split(', '));
        expect(grouped.length === 0 || grouped.every((by) => by.includes(label!)), `${title}: ${label}`).toBe(
          true,
        );
      }
    }
  }
});

test('the stages that a panel explains are the stages that there are', () => {
  const { description } = graphs.find(({ title }) => title === 'p99 by stage')!;
  for (const stage of STAGES.slice(0, 3)) expect(description).toContain(`${stage}:`);
});

test('everything is of the data source that is provisioned', () => {
  const uids = datasources.map(({ uid }) => uid);
  for (const { title, datasource, targets = [] } of graphs) {
    for (const uid of [datasource!.uid, ...targets.map((target) => target.datasource.uid)])
      expect(uids, title).toContain(uid);
  }
  expect(datasources.map(({ url }) => url)).toEqual(['http://prometheus:9090']);
});

test('docker-compose.yml mounts what is provisioned, where it is looked for', () => {
  const { services } = parse(read('../../docker-compose.yml'), { merge: true }) as {
    services: Record<string, { volumes: string[]; command?: string[]; environment?: Record<string, string> }>;
  };
  const { grafana, prometheus } = services;
  const mounted = new Map(
    [...grafana!.volumes, ...prometheus!.volumes].map((volume) => {
      const [from, to] = volume.split(':') as [string, string];
      return [to, from];
    }),
  );
  const { providers } = parse(read('provisioning/dashboards/millrace.yml')) as {
    providers: { options: { path: string } }[];
  };
  expect(mounted.get(providers[0]!.options.path)).toBe('./services/grafana/dashboards');
  const home = grafana!.environment!.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH!;
  expect(dirname(home)).toBe(providers[0]!.options.path);
  expect(readdirSync(join(here, 'dashboards'))).toEqual([home.split('/').at(-1)]);
  for (const kind of ['datasources', 'dashboards']) {
    expect(mounted.get(`/etc/grafana/provisioning/${kind}`)).toBe(`./services/grafana/provisioning/${kind}`);
  }
  // The rules lie beside the configuration that names them.
  const { rule_files } = parse(read('../prometheus/prometheus.yml')) as { rule_files: string[] };
  const config = prometheus!.command!.find((flag) => flag.startsWith('--config.file='))!.split('=')[1]!;
  expect(mounted.get(config)).toBe('./services/prometheus/prometheus.yml');
  for (const file of rule_files) {
    expect(mounted.get(join(dirname(config), file))).toBe(`./services/prometheus/${file}`);
  }
});
