/** What README.md says of the scenarios is what the code does, and what k6 is told is what the scenarios say. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { k6Options, limitsOf, slicesOf } from './k6-plan.ts';
import { describeScenario, type Load, SCENARIO_NAMES, scenarioOf } from './scenarios.ts';
import { k6Threshold, type Slo } from './slo.ts';
import * as swipes from './swipes/features.ts';
import { WORKLOADS } from './workload.ts';

const readme = readFileSync(new URL('./README.md', import.meta.url), 'utf8');

const loads = SCENARIO_NAMES.flatMap((name) =>
  scenarioOf(name).modes.flatMap((mode) =>
    (name === 'mixed' && mode === 'roles' ? [false, true] : [false]).map((bare) => {
      const load: Load = { mode, ratePerSecond: 50, seconds: 6, bare };
      return { name, load, scenario: scenarioOf(name) };
    }),
  ),
);

test('the table of README.md has every scenario, its load and its SLOs', () => {
  const from = readme.indexOf('| scenario |');
  const table = readme.slice(from, readme.indexOf('\n\n', from)).split('\n').slice(2);
  const rows = table.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  expect(rows.map(([name, , load, slos]) => [name!.replaceAll('`', ''), load, slos])).toEqual(
    SCENARIO_NAMES.map((name) => [...describeScenario(name)]),
  );
});

test('every script is there, and every file of scenarios/ is a script or what they share', () => {
  const files = readdirSync(fileURLToPath(new URL('./scenarios', import.meta.url)));
  const scripts = SCENARIO_NAMES.map((name) => `${scenarioOf(name).script}.js`);
  expect([...new Set([...scripts, 'answers.js'])].sort()).toEqual(files.sort());
});

describe.each(loads)('$name, $load.mode, bare: $load.bare', ({ scenario, load }) => {
  const phases = scenario.phases(load);
  const slos: readonly Slo[] = scenario.slos(load);
  const options = k6Options(phases, slos) as {
    scenarios: Record<string, { executor: string; startTime: string }>;
    thresholds: Record<string, string[]>;
  };

  test('the load is open: requests come at a rate, whatever the answers do', () => {
    for (const { executor } of Object.values(options.scenarios)) expect(executor).toMatch(/-arrival-rate$/);
  });

  test('phases have names of their own and follow one another', () => {
    expect(Object.keys(options.scenarios)).toEqual(phases.map(({ name }) => name));
    let atS = 0;
    for (const { name, seconds } of phases) {
      expect(Number.parseInt(options.scenarios[name]!.startTime, 10)).toBe(Math.round(1000 * atS));
      atS += seconds;
    }
  });

  test('every SLO is about a phase that there is, and is a threshold where k6 can judge it', () => {
    const names = phases.map(({ name }) => name);
    for (const slo of slos) {
      if ('phase' in slo) expect(names).toContain(slo.phase);
      if (slo.kind !== 'latency' && slo.kind !== 'none') continue;
      const { metric, expression } = k6Threshold(slo);
      expect(options.thresholds[metric]).toContain(expression);
      // A metric that no script fills is met by k6.
      if (slo.kind !== 'latency') continue;
      const { phase, of, limitMs } = slo;
      expect(limitsOf(slos)).toContainEqual({ metric, phase, of, limitMs });
    }
  });

  test('k6 sorts nothing that grows with the load: trends have thresholds by slice only', () => {
    for (const metric of Object.keys(options.thresholds)) {
      if (/^(?:admitted|bare|refused)/.test(metric)) expect(metric).toMatch(/\{slice:\d+\}$|_below_\d+ms$/);
    }
  });
});

test('a percentile is said as the share of answers below the limit', () => {
  const of = { kind: 'latency', phase: 'steady', of: 'admitted', limitMs: 10 } as const;
  const expressions = ([99, 99.9, 100] as const).map(
    (percentile) => k6Threshold({ ...of, percentile }).expression,
  );
  expect(expressions).toEqual(['rate>0.990', 'rate>0.999', 'rate==1']);
});

test.each([
  [[0.4], { ms: 1_000, count: 1 }],
  [[10, 60], { ms: 1_000, count: 70 }],
  [[120], { ms: 1_000, count: 120 }],
  [[120.5], { ms: 2_000, count: 61 }],
  [[10, 1_800], { ms: 16_000, count: 114 }],
])('phases of %j s are cut into slices %j', (lengths, slices) => {
  const phases = lengths.map((seconds) => ({ name: 'some', ratePerSecond: 1, seconds }));
  const totalMs = 1000 * lengths.reduce((sum, seconds) => sum + seconds, 0);
  expect(slicesOf(phases)).toEqual({ ...slices, totalMs });
});

test('the service of the swipes has at least 20 windows of two entities, from 1 minute to 90 days', () => {
  const repo = compileRepo(Object.values(swipes));
  const views = [...repo.views.values()];
  expect(views.map((view) => view.entity.name).sort()).toEqual(['card', 'merchant']);
  const windows = views.flatMap((view) => view.features.map(({ window }) => window));
  expect(windows.length).toBeGreaterThanOrEqual(20);
  const sizes = windows.flatMap((window) => (window.kind === 'sliding' ? [window.sizeMs] : []));
  expect(Math.min(...sizes)).toBe(60_000);
  expect(Math.max(...sizes)).toBe(WORKLOADS.swipes.historyMs);
});

test('draws are those of the seed, and a few keys have much of them', () => {
  for (const workload of Object.values(WORKLOADS)) {
    const take = (seed: number): string[] => {
      const next = workload.draws(seed, 1_000);
      return Array.from({ length: 2_000 }, () => next().members);
    };
    expect(take(1)).toEqual(take(1));
    expect(take(1)).not.toEqual(take(2));
  }
  const next = WORKLOADS.swipes.draws(1, 1_000);
  const counts = new Map<unknown, number>();
  for (let i = 0; i < 5_000; i++) {
    const { merchant } = next().values;
    counts.set(merchant, (counts.get(merchant) ?? 0) + 1);
  }
  expect(Math.max(...counts.values())).toBeGreaterThan(5_000 / 20);
});
