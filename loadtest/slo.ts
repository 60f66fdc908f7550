/** What a run is judged by. */

/** A limit that k6 judges by a threshold of its own. */
export interface LatencySlo {
  readonly kind: 'latency';
  readonly phase: string;
  /** Of the answers 2xx, or of the refusals. */
  readonly of: 'admitted' | 'refused';
  readonly percentile: 99 | 99.9 | 100;
  readonly limitMs: number;
}

/** Nothing of the kind at all, in a phase. */
export interface NoneSlo {
  readonly kind: 'none';
  readonly phase: string;
  readonly of: 'failed' | 'shed';
}

/** What the runner judges itself. */
export type RunnerSlo =
  /** From the acknowledgement of an event until an answer counts it. */
  | { readonly kind: 'freshness'; readonly limitMs: number }
  /** Mean memory of each process: that of the last fifth of the run to that of the second. */
  | { readonly kind: 'memory'; readonly ratioMax: number }
  /** p99 to that of the bare route. */
  | { readonly kind: 'bare'; readonly ratioMax: number }
  /** Answers of the sample. */
  | { readonly kind: 'wrong' }
  /** Answers 2xx per second, in a phase that asks for more than there can be. */
  | { readonly kind: 'goodput'; readonly phase: string; readonly perSecondMin: number }
  /** Share of the requests asked for that were sent: without them a run shows nothing. */
  | { readonly kind: 'achieved'; readonly phase: string; readonly shareMin: number };

export type Slo = LatencySlo | NoneSlo | RunnerSlo;

export interface Judgement {
  readonly slo: string;
  readonly measured: string;
  readonly ok: boolean;
}

/**
 * k6's expression, and the metric it is about. A percentile below a limit is said as the share of answers below it: k6 counts that,
 * while for a percentile it sorts, every two seconds of the load, all that was ever measured, and answers wait meanwhile.
 */
export function k6Threshold(slo: LatencySlo | NoneSlo): {
  readonly metric: string;
  readonly expression: string;
} {
  if (slo.kind === 'none') return { metric: `${slo.of}{scenario:${slo.phase}}`, expression: 'count==0' };
  const metric = `${slo.of}_${slo.phase}_below_${slo.limitMs}ms`;
  return {
    metric,
    expression: slo.percentile === 100 ? 'rate==1' : `rate>${(slo.percentile / 100).toFixed(3)}`,
  };
}

/** For tables. */
export function describeSlo(slo: Slo): string {
  switch (slo.kind) {
    case 'latency': {
      const what = slo.percentile === 100 ? 'slowest' : `p${slo.percentile}`;
      const of = slo.of === 'admitted' ? '' : ' of refusals';
      return `${slo.phase}: ${what}${of} < ${slo.limitMs} ms`;
    }
    case 'none':
      return `${slo.phase}: ${slo.of === 'failed' ? 'errors' : 'shed'} 0`;
    case 'freshness':
      return `freshness: p99 < ${slo.limitMs} ms`;
    case 'memory':
      return `memory grows by less than ${Math.round((slo.ratioMax - 1) * 100)} %`;
    case 'bare':
      return `p99 ≤ ${slo.ratioMax} × bare`;
    case 'wrong':
      return 'wrong answers 0';
    case 'goodput':
      return `${slo.phase}: answers 2xx ≥ the sustainable rate`;
    case 'achieved':
      return `${slo.phase}: ≥ ${slo.shareMin * 100} % of the rate`;
  }
}
