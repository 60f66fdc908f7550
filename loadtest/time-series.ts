/** What k6 measured, slice by slice of the load. */
import type { Slices } from './k6-plan.ts';
import type { K6Result } from './k6-run.ts';

export interface Slice {
  /** Its end, since the load began, s. */
  readonly atS: number;
  /** Per second. */
  readonly answers: number;
  readonly bareAnswers: number;
  readonly shed: number;
  readonly failed: number;
  /** Null where nothing was answered. */
  readonly latency: Latency | null;
  readonly bareLatency: Latency | null;
}

export interface Latency {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export type TimeSeries = readonly Slice[];

export function timeSeries(result: K6Result, { ms, count, totalMs }: Slices): TimeSeries {
  return Array.from({ length: count }, (_, i): Slice => {
    const tag = `slice:${i}`;
    const untilMs = Math.min((i + 1) * ms, totalMs);
    const perSecond = (amount: number): number => (1000 * amount) / (untilMs - i * ms);
    const [ours, bare] = [result.trend(`admitted{${tag}}`), result.trend(`bare{${tag}}`)];
    const latency = ({
      count: of,
      med,
      'p(95)': p95Ms,
      'p(99)': p99Ms,
      max: maxMs,
    }: typeof ours): Latency | null => (of === 0 ? null : { p50Ms: med, p95Ms, p99Ms, maxMs });
    return {
      atS: untilMs / 1000,
      answers: perSecond(ours.count),
      bareAnswers: perSecond(bare.count),
      shed: perSecond(result.count(`shed{${tag}}`)),
      failed: perSecond(result.count(`failed{${tag}}`)),
      latency: latency(ours),
      bareLatency: latency(bare),
    };
  });
}
