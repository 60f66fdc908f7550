import { expect, test } from 'vitest';
import { htmlReport } from './html-report.ts';
import { type Evidence, judge } from './judge.ts';
import { K6Result } from './k6-run.ts';
import { formatLoadReport, isMet, type LoadReport, type PhaseRow } from './load-report.ts';
import type { Slo } from './slo.ts';

const row = (phase: string, more: Partial<PhaseRow> = {}): PhaseRow => ({
  phase,
  target: 'millrace',
  asked: 100,
  achieved: 100,
  goodput: 100,
  latency: { p50Ms: 1, p95Ms: 2, p99Ms: 3, p999Ms: 4, maxMs: 5 },
  admitted: 1_000,
  failed: 0,
  shed: 0,
  dropped: 0,
  wrong: 0,
  ...more,
});

const trend = (count: number) => ({
  values: { count, med: 1, 'p(95)': 2, 'p(99)': 3, 'p(99.9)': 4, max: 5 },
});
const threshold = (expression: string, ok: boolean) => ({ values: {}, thresholds: { [expression]: { ok } } });

function evidence(more: Partial<Evidence> = {}, metrics: object = {}): Evidence {
  return {
    result: new K6Result(JSON.stringify({ metrics })),
    usage: { busy: 0.5, stolen: 0, processes: [] },
    streamed: null,
    phases: [],
    rows: [row('steady')],
    ...more,
  };
}

const P99: Slo = { kind: 'latency', phase: 'steady', of: 'admitted', percentile: 99, limitMs: 10 };

test('a latency is judged by k6, and missed where nobody was answered', () => {
  const of = (count: number, ok: boolean) => ({
    admitted_steady: trend(count),
    admitted_steady_below_10ms: threshold('rate>0.990', ok),
  });
  expect(judge(P99, evidence({}, of(9, true)))).toEqual({
    slo: 'steady: p99 < 10 ms',
    measured: '3.00 ms',
    ok: true,
  });
  expect(judge(P99, evidence({}, of(9, false))).ok).toBe(false);
  // What k6 says of no values at all, and it leaves out what measured nothing.
  const nobody = { admitted_steady_below_10ms: threshold('rate>0.990', true) };
  expect(judge(P99, evidence({}, nobody))).toMatchObject({ measured: 'none', ok: false });
});

test('a slowest refusal need not be there', () => {
  const slowest: Slo = { kind: 'latency', phase: 'steady', of: 'refused', percentile: 100, limitMs: 5 };
  const none = { refused_steady_below_5ms: threshold('rate==1', true) };
  expect(judge(slowest, evidence({}, none)).ok).toBe(true);
  const slow = { refused_steady: trend(1), refused_steady_below_5ms: threshold('rate==1', false) };
  expect(judge(slowest, evidence({}, slow))).toMatchObject({ measured: '5.00 ms', ok: false });
});

test('errors are counted by k6', () => {
  const slo: Slo = { kind: 'none', phase: 'steady', of: 'failed' };
  const two = {
    'failed{scenario:steady}': { values: { count: 2 }, thresholds: { 'count==0': { ok: false } } },
  };
  expect(judge(slo, evidence({}, two))).toEqual({ slo: 'steady: errors 0', measured: '2', ok: false });
});

test('a rate that was not put on shows nothing', () => {
  const slo: Slo = { kind: 'achieved', phase: 'steady', shareMin: 0.98 };
  expect(judge(slo, evidence({ rows: [row('steady', { achieved: 98 })] })).ok).toBe(true);
  expect(judge(slo, evidence({ rows: [row('steady', { achieved: 97.9 })] })).ok).toBe(false);
});

test('an engine that refuses nearly everything keeps no promise', () => {
  const slo: Slo = { kind: 'goodput', phase: 'overload', perSecondMin: 50 };
  const of = (goodput: number) => evidence({ rows: [row('before'), row('overload', { goodput })] });
  expect(judge(slo, of(50))).toMatchObject({ measured: '50/s of 50/s', ok: true });
  expect(judge(slo, of(49.9)).ok).toBe(false);
});

test('freshness without a single event is missed', () => {
  const slo: Slo = { kind: 'freshness', limitMs: 100 };
  const of = (p99Us: number, markers: number) => ({ streamed: { freshness: { p99Us }, markers } });
  expect(judge(slo, evidence(of(99_999, 5))).ok).toBe(true);
  expect(judge(slo, evidence(of(100_000, 5))).ok).toBe(false);
  expect(judge(slo, evidence(of(0, 0))).ok).toBe(false);
  expect(judge(slo, evidence()).ok).toBe(false);
});

test('memory is that of the engine and of Redis', () => {
  const slo: Slo = { kind: 'memory', ratioMax: 1.25 };
  const of = (...growths: readonly (readonly [string, number])[]) => ({
    usage: {
      busy: 0,
      stolen: 0,
      processes: growths.map(([name, growth]) => ({ name, growth, cpuShare: 0, rssMbMax: 0 })),
    },
  });
  expect(judge(slo, evidence(of(['serve', 1.1], ['k6', 3], ['Kafka', 2])))).toMatchObject({
    measured: 'serve: 1.10 times',
    ok: true,
  });
  expect(judge(slo, evidence(of(['serve', 1.1], ['Redis', 1.3]))).ok).toBe(false);
});

test('the ratio to the bare route is the median of the rounds', () => {
  const slo: Slo = { kind: 'bare', ratioMax: 1.5 };
  const rounds = (...p99s: readonly (readonly [number, number])[]) => ({
    rows: p99s.flatMap(([ours, bare], i) => {
      const of = (p99Ms: number) => ({ latency: { p50Ms: 1, p95Ms: 1, p99Ms, p999Ms: 9, maxMs: 9 } });
      return [row(`steady_${i + 1}`, of(ours)), row(`bare_${i + 1}`, of(bare))];
    }),
  });
  expect(judge(slo, evidence(rounds([3, 2], [9, 1], [1, 1])))).toMatchObject({
    measured: '1.500 (1.000, 1.500, 9.000)',
    ok: true,
  });
  expect(judge(slo, evidence(rounds([3.1, 2], [9, 1], [1, 1]))).ok).toBe(false);
  const lost = { rows: [row('steady_1', { latency: null }), row('bare_1')] };
  expect(judge(slo, evidence(lost)).ok).toBe(false);
});

test('a wrong answer is one too many', () => {
  expect(judge({ kind: 'wrong' }, evidence()).ok).toBe(true);
  expect(judge({ kind: 'wrong' }, evidence({ rows: [row('steady'), row('after', { wrong: 1 })] })).ok).toBe(
    false,
  );
});

test('the reports show what is missed, and stand also where nothing was answered', () => {
  const report: LoadReport = {
    scenario: 'swipe',
    summary: 'a <summary>',
    rows: [row('steady', { latency: null, admitted: 0, failed: 7 })],
    judgements: [{ slo: 'steady: p99 < 10 ms', measured: 'none', ok: false }],
    notes: ['a note'],
    series: [],
    phases: [{ name: 'steady', ratePerSecond: 100, seconds: 10 }],
    usage: { busy: 1, stolen: 0, processes: [{ name: 'up', cpuShare: Number.NaN, rssMbMax: 0, growth: 1 }] },
    facts: { machine: 'one' },
  };
  expect(isMet(report)).toBe(false);
  const text = formatLoadReport(report);
  for (const part of ['NOT MET', 'a note', '0 SLOs met, 1 not']) expect(text).toContain(part);
  const html = htmlReport(report);
  for (const part of ['class="missed"', 'a &lt;summary&gt;', '<td>7</td>']) expect(html).toContain(part);
  expect(html).not.toMatch(/NaN|undefined|Infinity/);
});
