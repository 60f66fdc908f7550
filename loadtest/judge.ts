/** What was measured against what was promised. */
import type { K6Result } from './k6-run.ts';
import { formatMs, type PhaseRow } from './load-report.ts';
import type { MachineUsage } from './process-usage.ts';
import type { Phase } from './scenarios.ts';
import { describeSlo, type Judgement, k6Threshold, type LatencySlo, type NoneSlo, type Slo } from './slo.ts';

export interface Evidence {
  readonly result: K6Result;
  readonly usage: MachineUsage;
  readonly streamed: { readonly freshness: { readonly p99Us: number }; readonly markers: number } | null;
  readonly phases: readonly Phase[];
  readonly rows: readonly PhaseRow[];
}

export function judge(slo: Slo, evidence: Evidence): Judgement {
  const { measured, ok } = verdict(slo, evidence);
  return { slo: describeSlo(slo), measured, ok };
}

type Verdict = Omit<Judgement, 'slo'>;

function verdict(slo: Slo, evidence: Evidence): Verdict {
  const { usage, streamed, rows } = evidence;
  switch (slo.kind) {
    case 'latency':
      return latency(slo, evidence);
    case 'none':
      return none(slo, evidence);
    case 'freshness': {
      if (streamed === null || streamed.markers === 0) return { measured: 'nothing', ok: false };
      const p99Ms = streamed.freshness.p99Us / 1000;
      return { measured: formatMs(p99Ms), ok: p99Ms < slo.limitMs };
    }
    case 'memory': {
      const engine = usage.processes.filter(({ name }) => name !== 'k6' && name !== 'Kafka');
      const worst = engine.reduce((a, b) => (b.growth > a.growth ? b : a));
      return {
        measured: `${worst.name}: ${worst.growth.toFixed(2)} times`,
        ok: worst.growth < slo.ratioMax,
      };
    }
    case 'bare':
      return toBare(slo.ratioMax, rows);
    case 'wrong': {
      const wrong = rows.reduce((sum, row) => sum + row.wrong, 0);
      return { measured: String(wrong), ok: wrong === 0 };
    }
    case 'goodput': {
      const perSecond = rows.find(({ phase }) => phase === slo.phase)!.goodput;
      return {
        measured: `${perSecond.toFixed(0)}/s of ${slo.perSecondMin.toFixed(0)}/s`,
        ok: perSecond >= slo.perSecondMin,
      };
    }
    case 'achieved': {
      const { asked, achieved } = rows.find(({ phase }) => phase === slo.phase)!;
      const share = achieved / asked;
      return { measured: `${(100 * share).toFixed(1)} %`, ok: share >= slo.shareMin };
    }
  }
}

/** k6 takes a threshold over no values for met. A percentile has to be of something; a slowest answer there need not be. */
function latency(slo: LatencySlo, { result }: Evidence): Verdict {
  const { metric, expression } = k6Threshold(slo);
  const trend = result.trend(`${slo.of}_${slo.phase}`);
  if (trend.count === 0) return { measured: 'none', ok: slo.percentile === 100 };
  const value =
    slo.percentile === 100 ? trend.max : slo.percentile === 99 ? trend['p(99)'] : trend['p(99.9)'];
  return { measured: formatMs(value), ok: result.isMet(metric, expression) };
}

function none(slo: NoneSlo, { result }: Evidence): Verdict {
  const { metric, expression } = k6Threshold(slo);
  return { measured: String(result.count(metric)), ok: result.isMet(metric, expression) };
}

/** Median of the rounds: what disturbs one round disturbs both of its sides. */
function toBare(ratioMax: number, rows: readonly PhaseRow[]): Verdict {
  const p99s = (prefix: string): (number | undefined)[] =>
    rows.filter(({ phase }) => phase.startsWith(prefix)).map(({ latency: of }) => of?.p99Ms);
  const bare = p99s('bare_');
  const ratios = p99s('steady_')
    .map((ours, i) => (ours ?? Number.NaN) / (bare[i] ?? Number.NaN))
    .sort((a, b) => a - b);
  const median = ratios[ratios.length >>> 1] ?? Number.NaN;
  return {
    measured: `${median.toFixed(3)} (${ratios.map((ratio) => ratio.toFixed(3)).join(', ')})`,
    ok: median <= ratioMax && !ratios.some(Number.isNaN),
  };
}
