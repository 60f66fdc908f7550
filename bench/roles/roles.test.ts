import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileRepo } from '../../engine/definitions/compile.ts';
import * as features from '../../examples/card-fraud/features.ts';
import { describeWithServices } from '../../services/index.ts';
import { buildCheckout } from './build.ts';
import { formatRolesReport, NOT_MEASURED } from './roles-report.ts';
import { PHASES, runRolesBench } from './run-roles-bench.ts';
import { Scope } from './scope.ts';

// Nothing is said of speed here: only that the benchmark runs, measures what it says, and that the engine's answers and
// counts are what they should be, which it checks by itself.
describeWithServices(['kafka', 'redis'], 'the benchmark of the roles', () => {
  const scope = new Scope();
  // The processes run the built CLI.
  beforeAll(() => buildCheckout({ always: false }), 120_000);
  afterAll(() => scope.close());

  test('fills its tables', async () => {
    const report = await runRolesBench(
      {
        repo: compileRepo(Object.values(features)),
        phases: new Set(PHASES),
        seconds: 0.2,
        events: 800,
        views: 2,
        seed: 1,
        profile: null,
        onProgress: () => {},
        readRounds: 1,
        writeRounds: 1,
        questions: 30,
      },
      scope,
    );
    expect(report.rows.map(({ figure }) => figure)).toEqual([
      'read: millrace serve',
      'read: bare, fields present',
      'read: bare, fields asked for',
      'read at 1000/s: millrace serve',
      'read at 1000/s: bare, fields present',
      'write: millrace ingest',
      'write: bare kafkajs and ioredis',
      'rebuild: millrace rebuild, 2 views at once',
      'rebuild: embedded, lmdb, 2 views at once',
      'freshness: send → visible',
      'freshness: acknowledged → visible',
      'freshness: send → acknowledged',
    ]);
    for (const { figure, perSecond, percentiles, ratio } of report.rows) {
      const { p50Us = 1, p95Us = 1, p99Us = 1, maxUs = 1 } = percentiles ?? {};
      const numbers = [
        perSecond,
        p50Us,
        p95Us,
        p99Us,
        maxUs,
        ...(ratio === null ? [] : Object.values(ratio)),
      ];
      expect(
        numbers.filter((value) => !(Number.isFinite(value) && value > 0)),
        figure,
      ).toEqual([]);
    }
    expect(report.hot.map(({ processes, events }) => [processes, events])).toEqual([
      [1, 200],
      [2, 200],
      [1, 400],
      [2, 400],
    ]);
    for (const { writes, conflicts, events, conflictsPerEvent } of report.hot) {
      expect(writes).toBeGreaterThan(0);
      expect(writes).toBeLessThanOrEqual(events);
      expect(conflictsPerEvent).toBe(conflicts / events);
    }
    const text = formatRolesReport(report);
    for (const part of [process.version, 'read checksum', 'conflicts', NOT_MEASURED])
      expect(text).toContain(part);
  }, 240_000);
});
