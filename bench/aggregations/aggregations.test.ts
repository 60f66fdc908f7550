import { describe, expect, test } from 'vitest';
import { operationRegistry } from '../../engine/aggregators/operation-registry.ts';
import { describeWithServices } from '../../services/index.ts';
import { Scope } from '../roles/scope.ts';
import {
  type AggregationsReport,
  checksumOf,
  formatAggregationsReport,
  NOT_MEASURED,
} from './aggregations-report.ts';
import { VARIANTS } from './card-events.ts';
import { operationCases } from './operation-cost.ts';
import {
  AGGREGATION_PHASES,
  type AggregationsBenchOptions,
  runAggregationsBench,
} from './run-aggregations-bench.ts';
import { scalingPlot } from './scaling-plot.ts';

const TINY: AggregationsBenchOptions = {
  phases: new Set(AGGREGATION_PHASES),
  events: 1_000,
  seconds: 0.01,
  seed: 1,
  onProgress: () => {},
  days: [30],
  memorySizes: [10, 300],
  sameMillisecond: 3_000,
  questions: 5,
  operations: ['count', 'sum', 'changes', 'top_k_frequent'],
};

async function run(options: AggregationsBenchOptions): Promise<AggregationsReport> {
  const scope = new Scope();
  try {
    return await runAggregationsBench(options, scope);
  } finally {
    await scope.close();
  }
}

const positive = (...values: readonly number[]): void => {
  expect(values.filter((value) => !(Number.isFinite(value) && value > 0))).toEqual([]);
};

// Nothing is said of speed or size here: only that the benchmark runs, and measures what it says. That counts are right
// and that stores answer the same it checks by itself.
describe('the benchmark of the aggregations', () => {
  test('fills its tables without Redis, and answers the same in every run with the same seed', async () => {
    const report = await run({ ...TINY, withRedis: false });
    expect(report.scaling.map(({ variant, store, events }) => [variant, store, events])).toEqual(
      ['amount', 'sketches'].flatMap((variant) => [100, 1_000].map((events) => [variant, 'memory', events])),
    );
    for (const row of report.scaling) {
      positive(row.p50Us, row.p99Us, row.cpuUs, row.reads, row.bytes, row.asked, row.present, row.checksum);
      expect(row.calls).toBe(1);
    }
    expect(report.memory).toEqual([]);
    expect(report.byHand).toEqual([]);
    expect(report.operations.length).toBe(6);
    for (const row of report.operations) {
      positive(row.addNs, row.mergeUs, row.finalizeUs, row.tileBytes, row.mergedBytes, row.checksum);
    }
    expect(report.dense.map(({ variant, events, days }) => [variant, events, days])).toEqual([
      ['amount', 1_000, 30],
      ['amount', 3_000, 0],
      ['sketches', 1_000, 30],
      ['sketches', 3_000, 0],
    ]);
    for (const row of report.dense) {
      positive(
        row.eventsPerSecond,
        row.bytesWrittenPerEvent,
        row.chunkBytes,
        row.largestField.bytes,
        row.fields,
      );
    }
    const text = formatAggregationsReport(report);
    const checksum = checksumOf(report);
    for (const part of ['without Redis', checksum, process.version, NOT_MEASURED])
      expect(text).toContain(part);
    expect(checksumOf(await run({ ...TINY, withRedis: false }))).toBe(checksum);

    const plot = scalingPlot(report.scaling, 30, ['drawn by <a test>']);
    expect(plot).toContain('drawn by &lt;a test&gt;');
    expect(plot).not.toMatch(/NaN|Infinity|undefined/);
    // p50 and p99 of both variants, and the bytes of both, median and most.
    expect(plot.match(/<polyline/g)).toHaveLength(8);
  });

  test('measures every operation of the registry', () => {
    const measured = new Set(operationCases().map(({ feature }) => feature.operation.name));
    expect([...measured].sort()).toEqual([...operationRegistry.keys()].sort());
  });
});

describeWithServices(['redis'], 'the benchmark of the aggregations over Redis', () => {
  test('compares with a sorted set, and says where the bytes of a hash go', async () => {
    const report = await run({ ...TINY, phases: new Set(['scaling', 'by-hand', 'memory', 'dense']) });
    expect(report.scaling.filter(({ store }) => store === 'Redis').length).toBe(4);
    expect(report.dense.filter(({ store }) => store === 'Redis').length).toBe(4);
    expect(report.memory.map(({ variant, events, target }) => [variant, events, target])).toEqual(
      VARIANTS.flatMap((variant) => [
        [variant, 10, 1.5],
        [variant, 300, 1 / 3],
      ]),
    );
    for (const { hashBytes, zsetBytes, ratio, fields, parts } of report.memory) {
      positive(hashBytes, zsetBytes, ratio, fields);
      const sum = Object.values(parts).reduce((a, b) => a + b, 0);
      expect(sum).toBeCloseTo(hashBytes, 6);
      expect(Math.min(...Object.values(parts))).toBeGreaterThanOrEqual(0);
    }
    expect(report.byHand.map(({ events }) => events)).toEqual([100, 100]);
    for (const { engine, byHand, ratio, checksum } of report.byHand) {
      positive(engine.p50Us, engine.p99Us, engine.reads, byHand.p50Us, byHand.p99Us, byHand.reads);
      positive(ratio.min, ratio.median, ratio.max, checksum);
    }
    const text = formatAggregationsReport(report);
    for (const part of ['sorted set', 'by hand']) expect(text).toContain(part);
  });
});
