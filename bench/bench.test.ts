import { expect, test } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import * as features from '../examples/card-fraud/features.ts';
import { formatReadProfile, profileReads } from './read-profile.ts';
import { formatReport, NOT_MEASURED } from './report.ts';
import { type BenchOptions, runBench } from './run-bench.ts';

const TINY: BenchOptions = {
  repo: compileRepo(Object.values(features)),
  events: 300,
  seconds: 0.02,
  chunkEvents: 100,
  minPushes: 1,
  questions: 30,
  flush: false,
};

const FIGURES = [
  'HTTP read: millrace',
  'HTTP read: bare fastify',
  'read: millrace',
  'read: bare lmdb gets',
  'write: millrace',
  'write: bare lmdb puts',
  'write + compaction: millrace',
  'write + compaction: bare lmdb puts',
];

// Nothing is said of speed here: only that the benchmark runs and measures what it says.
test('the benchmark fills its table, and answers the same in every run with the same seed', async () => {
  const first = await runBench(TINY);
  expect(first.rows.map(({ figure }) => figure)).toEqual(FIGURES);
  first.rows.forEach(({ perSecond, p50Us, p99Us, p999Us, ratio }, i) => {
    const numbers = [perSecond, p50Us, p99Us, p999Us, ...(ratio === null ? [] : Object.values(ratio))];
    expect(
      numbers.filter((value) => !(Number.isFinite(value) && value > 0)),
      FIGURES[i],
    ).toEqual([]);
    expect(ratio === null, FIGURES[i]).toBe(i % 2 === 1);
  });
  const text = formatReport(first);
  for (const part of [...FIGURES, first.checksum, process.version, NOT_MEASURED])
    expect(text).toContain(part);
  const again = await runBench(TINY);
  expect(again.checksum).toBe(first.checksum);
  expect(Number.parseFloat(first.checksum)).toBeGreaterThan(0);
}, 60_000);

test('the profile of reads says where time and memory go', async () => {
  const profile = await profileReads({ repo: TINY.repo, events: 300, seconds: 0.3, directory: null });
  expect(profile.requests).toBeGreaterThan(0);
  for (const figures of [profile.cpuUs, profile.bytes]) {
    expect(figures.length).toBeGreaterThan(0);
    expect(figures.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
  }
  // Every read makes rows of states: no profile can be without.
  expect(profile.bytes.map(({ part }) => part)).toContain('decode and merge');
  expect(formatReadProfile(profile)).toContain('bytes per request');
}, 60_000);
