/** What a load test found, and its table. */
import { textTable } from '../cli/text-table.ts';
import type { MachineUsage } from './process-usage.ts';
import type { Phase } from './scenarios.ts';
import type { Judgement } from './slo.ts';
import type { TimeSeries } from './time-series.ts';

export interface PhaseRow {
  readonly phase: string;
  readonly target: 'millrace' | 'bare';
  /** Requests per second. */
  readonly asked: number;
  /** Answers of any kind per second. */
  readonly achieved: number;
  /** Answers 2xx per second. */
  readonly goodput: number;
  /** Of the answers 2xx; null: there was none. */
  readonly latency: {
    readonly p50Ms: number;
    readonly p95Ms: number;
    readonly p99Ms: number;
    readonly p999Ms: number;
    readonly maxMs: number;
  } | null;
  readonly admitted: number;
  /** No answer, or one that nobody may get. */
  readonly failed: number;
  /** Refused for now. */
  readonly shed: number;
  /** Not sent: no virtual user was free. */
  readonly dropped: number;
  /** Of the sample: answers that say something else than they should. */
  readonly wrong: number;
}

export interface LoadReport {
  readonly scenario: string;
  readonly summary: string;
  readonly rows: readonly PhaseRow[];
  readonly judgements: readonly Judgement[];
  readonly notes: readonly string[];
  readonly series: TimeSeries;
  readonly phases: readonly Phase[];
  readonly usage: MachineUsage;
  readonly facts: Readonly<Record<string, string>>;
}

/** Whether every SLO is met. */
export const isMet = ({ judgements }: LoadReport): boolean => judgements.every(({ ok }) => ok);

export const PHASE_HEADINGS = [
  'phase',
  'asked/s',
  'achieved/s',
  'p50',
  'p95',
  'p99',
  'p99.9',
  'slowest',
  'errors',
  'shed',
  'dropped',
] as const;

export function phaseCells(row: PhaseRow): string[] {
  const { latency } = row;
  const latencies =
    latency === null
      ? ['', '', '', '', '']
      : [latency.p50Ms, latency.p95Ms, latency.p99Ms, latency.p999Ms, latency.maxMs].map(formatMs);
  return [
    row.phase,
    row.asked.toFixed(0),
    row.achieved.toFixed(0),
    ...latencies,
    String(row.failed + row.wrong),
    String(row.shed),
    String(row.dropped),
  ];
}

export const USAGE_HEADINGS = ['process', 'CPU', 'memory'] as const;

export function usageCells(usage: MachineUsage): string[][] {
  return usage.processes.map(({ name, cpuShare, rssMbMax }) => [
    name,
    Number.isNaN(cpuShare) ? '' : `${Math.round(100 * cpuShare)} % of a core`,
    rssMbMax === 0 ? '' : `${Math.round(rssMbMax)} MB`,
  ]);
}

export const formatMs = (ms: number): string => (ms >= 100 ? `${Math.round(ms)} ms` : `${ms.toFixed(2)} ms`);

export function formatLoadReport(report: LoadReport): string {
  const { scenario, summary, rows, judgements, notes, usage, facts } = report;
  const failed = judgements.filter(({ ok }) => !ok).length;
  return [
    `${scenario}: ${summary}`,
    '',
    textTable([[...PHASE_HEADINGS], ...rows.map(phaseCells)]),
    '',
    textTable([
      ['SLO', 'measured', ''],
      ...judgements.map(({ slo, measured, ok }) => [slo, measured, ok ? 'met' : 'NOT MET']),
    ]),
    '',
    textTable([[...USAGE_HEADINGS], ...usageCells(usage)]),
    '',
    ...notes.map((note) => `- ${note}`),
    '',
    textTable(Object.entries(facts).map(([name, value]) => [name, value])),
    '',
    `${judgements.length - failed} SLOs met, ${failed} not`,
  ].join('\n');
}
