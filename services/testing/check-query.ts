import { SKEW_METRICS } from '../../offline/decisions/skew-report.ts';
import { METRICS, Metrics } from '../../serve/metrics.ts';
import { groupedBy, selectedSeries } from '../prometheus/query-names.ts';

/** What Prometheus adds to every series, and `le` of buckets. */
const ALWAYS = new Set(['job', 'instance', 'le', 'role']);
const SUFFIX = /_(bucket|sum|count)$/;

interface Entry {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
}

const ofSkew = SKEW_METRICS.map((entry): Entry => ({ ...entry, type: 'gauge' }));
const ours = new Map([...METRICS, ...ofSkew].map((entry: Entry) => [entry.name, entry]));
/** Those of prom-client. */
const ofProcess = new Set(
  new Metrics({ process: true }).registry.getMetricsAsArray().map(({ name }) => name),
);

/** What an expression asks for that no process has; empty: nothing. */
export function checkQuery(expression: string): string[] {
  const problems: string[] = [];
  const labels = new Set(ALWAYS);
  const selected = selectedSeries(expression);
  if (selected.length === 0) problems.push('it selects nothing');
  for (const { metric, labels: asked } of selected) {
    const [, suffix] = SUFFIX.exec(metric) ?? [];
    const entry = ours.get(metric) ?? ours.get(metric.replace(SUFFIX, ''));
    const isProcess = metric === 'up' || (ofProcess.has(metric) && entry === undefined);
    if (!isProcess && (entry === undefined || (entry.type === 'histogram') !== (suffix !== undefined))) {
      problems.push(`there is no ${metric}`);
      continue;
    }
    for (const label of entry?.labels ?? []) labels.add(label);
    for (const [name, value] of asked) {
      if (!ALWAYS.has(name) && !entry?.labels.includes(name)) problems.push(`${metric} has no label ${name}`);
      if (name === 'le' && (suffix !== 'bucket' || !entry?.buckets?.includes(Number(value)))) {
        problems.push(`${metric} has no bucket ${value}`);
      }
    }
  }
  for (const label of groupedBy(expression)) if (!labels.has(label)) problems.push(`nothing has ${label}`);
  return problems;
}
