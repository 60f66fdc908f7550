/** A skew report as JSON, and as metrics for Prometheus. Neither has an entity key in it; metrics have no ids either. */
import { LEFT_OUT } from './decision-table.ts';
import type { SkewReport } from './skew.ts';

/** As JSON, to be kept beside a model or looked at by a program. */
export function skewJson(report: SkewReport, finishedMs: number): object {
  const { decisions, matchRate, features } = report;
  return {
    service: report.service,
    finished: new Date(finishedMs).toISOString(),
    match_rate: matchRate,
    ...{ rows: report.rows, seed: report.seed, tolerance: report.tolerance, lag_ms: report.lagMs },
    views: Object.fromEntries(report.views),
    decisions: {
      ...{ files: report.files, open_files: report.openFiles, records: decisions.records },
      ...{ of_service: decisions.ofService, sampled: decisions.sampled, computed: decisions.computed },
      left_out: Object.fromEntries(decisions.leftOut),
      unknown_keys: Object.fromEntries(report.unknownKeys),
      ...{ missing_events: report.missingEvents, after_history: report.afterHistory },
    },
    knows_arrivals: report.knowsArrivals,
    features: features.map((feature) => ({
      ...{ feature: feature.feature, type: feature.type, match_rate: feature.matchRate },
      ...{
        compared: feature.compared,
        equal: feature.equal,
        differing: feature.differing,
        late: feature.late,
      },
      not_compared: Object.fromEntries(feature.notCompared),
      worst:
        feature.worst === null
          ? null
          : {
              ...{ absolute: feature.worst.absolute, relative: feature.worst.relative },
              ...{ record: feature.worst.record, request: feature.worst.request, row: feature.worst.row },
              at: new Date(feature.worst.atMs).toISOString(),
              ...{ logged: feature.worst.logged, computed: feature.worst.computed },
            },
    })),
  };
}

export interface SkewMetric {
  readonly name: string;
  readonly unit: string;
  readonly labels: readonly string[];
  readonly meaning: string;
}

/** All are gauges: they are of one run, and the next one begins anew. */
export const SKEW_METRICS: readonly SkewMetric[] = [
  {
    name: 'millrace_skew_values_compared',
    unit: 'values',
    labels: ['service', 'feature'],
    meaning: 'Values of answers that were computed again from history, in the last run.',
  },
  {
    name: 'millrace_skew_values_matched',
    unit: 'values',
    labels: ['service', 'feature'],
    meaning: 'Of these, values that were equal, doubles within the tolerance.',
  },
  {
    name: 'millrace_skew_values_late',
    unit: 'values',
    labels: ['service', 'feature'],
    meaning: 'Values that differ where events arrived too late for the answer; not among those compared.',
  },
  {
    name: 'millrace_skew_values_not_compared',
    unit: 'values',
    labels: ['service', 'feature', 'status'],
    meaning: 'Values that are none to compare with, by their status.',
  },
  {
    name: 'millrace_skew_decisions',
    unit: 'decisions',
    labels: ['service'],
    meaning: 'Answers that were computed again.',
  },
  {
    name: 'millrace_skew_decisions_left_out',
    unit: 'decisions',
    labels: ['service', 'reason'],
    meaning: 'Answers that could not be, by the reason.',
  },
  {
    name: 'millrace_skew_run_timestamp_seconds',
    unit: 'seconds',
    labels: ['service'],
    meaning: 'When the last run ended, in seconds since the epoch.',
  },
];

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** The text format of Prometheus. */
export function skewMetrics(report: SkewReport, finishedMs: number): string {
  const { service, features, decisions } = report;
  const byFeature = (value: (feature: SkewReport['features'][number]) => number): Sample[] =>
    features.map((feature) => [{ service, feature: feature.feature }, value(feature)]);
  const samples: Readonly<Record<string, readonly Sample[]>> = {
    millrace_skew_values_compared: byFeature(({ compared }) => compared),
    millrace_skew_values_matched: byFeature(({ equal }) => equal),
    millrace_skew_values_late: byFeature(({ late }) => late),
    millrace_skew_values_not_compared: features.flatMap(({ feature, notCompared }) =>
      [...notCompared].map(([status, count]): Sample => [{ service, feature, status }, count]),
    ),
    millrace_skew_decisions: [[{ service }, decisions.computed]],
    // All reasons, so that a series does not end where there is nothing more to tell.
    millrace_skew_decisions_left_out: Object.keys(LEFT_OUT).map((reason) => [
      { service, reason },
      decisions.leftOut.get(reason as keyof typeof LEFT_OUT) ?? 0,
    ]),
    millrace_skew_run_timestamp_seconds: [[{ service }, finishedMs / 1000]],
  };
  const lines = SKEW_METRICS.flatMap(({ name, meaning }) => [
    `# HELP ${name} ${meaning}`,
    `# TYPE ${name} gauge`,
    ...samples[name]!.map(([labels, value]) => {
      const shown = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
      return `${name}{${shown.join(',')}} ${value}`;
    }),
  ]);
  return lines.map((line) => `${line}\n`).join('');
}

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
