/**
 * Web requests that arrive up to 59 s out of order: once all are in, every value at every time is as if they had
 * come in order, whatever lateness the source declares (it says how long folding waits; it never drops).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openEmbedded } from '../embedded/runtime.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import {
  compileRepo,
  count,
  distinctCount,
  entity,
  featureService,
  featureView,
  integer,
  last,
  max,
  streamSource,
  string,
  sum,
  timestamp,
} from '../index.ts';
import { csvRows, dataPresent } from './published-data.ts';

const FILE = 'web_requests.csv.gz';
const CHUNK = 100;
const QUESTIONS = 4_000;

function repoWith(lateness: '0s' | '60s') {
  const requests = streamSource({
    name: 'web_requests',
    columns: {
      arrival_no: integer(),
      ts: timestamp(),
      ip: string(),
      path: string(),
      status: integer(),
      bytes: integer({ nullable: true }),
    },
    eventTime: 'ts',
    eventId: 'arrival_no',
    lateness,
  });
  const byIp = featureView({
    name: 'by_ip',
    source: requests,
    entity: entity('ip'),
    features: {
      requests_30s: count().over('30s'),
      requests_1h: count().over('1h'),
      bytes_1h: sum('bytes').over('1h'),
      largest_1d: max('bytes').over('1d'),
      paths_1d: distinctCount('path').over('1d'),
      newest_status: last('status').over('1d'),
      requests_ever: count().lifetime(),
    },
    asOfRetention: '5d',
  });
  return compileRepo([featureService({ name: 'traffic', features: [byIp] })]);
}

interface Request {
  readonly arrivalNo: number;
  readonly timeMs: number;
  readonly ip: string;
  readonly path: string;
  readonly status: number;
  readonly bytes: number | null;
}

function countedBy(ofIp: readonly Request[], atMs: number): Record<string, number | null> {
  const within = (ms: number): Request[] => ofIp.filter(({ timeMs }) => timeMs > atMs - ms && timeMs <= atMs);
  const hour = within(3_600_000);
  const day = within(86_400_000);
  const sizes = day.flatMap(({ bytes }) => (bytes === null ? [] : [bytes]));
  const ordered = [...day].sort((a, b) => a.timeMs - b.timeMs || a.arrivalNo - b.arrivalNo);
  return {
    requests_30s: within(30_000).length,
    requests_1h: hour.length,
    bytes_1h: hour.reduce((total, { bytes }) => total + (bytes ?? 0), 0),
    largest_1d: sizes.length === 0 ? null : Math.max(...sizes),
    paths_1d: new Set(day.map(({ path }) => path)).size,
    newest_status: ordered.at(-1)?.status ?? null,
    requests_ever: within(Number.POSITIVE_INFINITY).length,
  };
}

describe.skipIf(!dataPresent(FILE))('web requests out of order', () => {
  test.each(['60s', '0s'] as const)(
    'with a lateness of %s final values are right and nothing is dropped',
    async (lateness) => {
      const all: Request[] = [];
      for await (const row of csvRows(FILE)) {
        all.push({
          arrivalNo: Number(row.arrival_no),
          timeMs: Date.parse(row.ts!),
          ip: row.ip!,
          path: row.path!,
          status: Number(row.status),
          bytes: row.bytes === '' ? null : Number(row.bytes),
        });
      }
      expect(all.length).toBe(10_000);
      const dataDir = await mkdtemp(join(tmpdir(), 'millrace-web-'));
      const engine = await openEmbedded({
        repo: repoWith(lateness),
        dataDir,
        clock: 'event',
        flush: false,
        partitions: 2,
        shape: { leafBytesMax: 200, tailRowsMax: 4 },
        pacing: { foldAfterMs: 1_000 },
      });
      try {
        let compacted = 0;
        for (let at = 0; at < all.length; at += CHUNK) {
          const events = all
            .slice(at, at + CHUNK)
            .map(({ arrivalNo, timeMs, ...rest }) => ({ arrival_no: arrivalNo, ts: timeMs, ...rest }));
          const result = await engine.push.push('web_requests', events, { wait: 'applied' });
          expect(result).toEqual({ accepted: events.length, duplicates: 0, rejected: [] });
          compacted += await engine.compact();
        }
        expect(compacted).toBeGreaterThan(1_000);
        const metrics = await engine.metrics.text();
        expect(metrics).not.toMatch(/outcome="(too_late|duplicate|redelivered)"\} [1-9]/);
        expect(metrics).not.toMatch(/millrace_dead_letters_total\{[^}]*\} [1-9]/);

        const ofIp = groupByIp(all);
        const random = new SeededRandom(60);
        const endMs = Math.max(...all.map(({ timeMs }) => timeMs));
        let compared = 0;
        while (compared < QUESTIONS) {
          const rows = Array.from({ length: 200 }, () => {
            const { ip, timeMs } = random.pick(all);
            const edgeMs = random.pick([0, 30_000, 3_600_000, 86_400_000]) + random.between(-1, 1);
            return { entities: { ip }, at: Math.min(timeMs + edgeMs, endMs) };
          });
          const response = await engine.app.inject({
            method: 'POST',
            url: '/v1/services/traffic/features/batch',
            payload: { rows },
          });
          expect(response.statusCode).toBe(200);
          const answers = (response.json() as { rows: { features: unknown }[] }).rows;
          rows.forEach(({ entities, at }, i) => {
            expect(answers[i]!.features, `${entities.ip} at ${at}`).toEqual(
              countedBy(ofIp.get(entities.ip)!, at),
            );
          });
          compared += rows.length;
        }
        console.log(
          `lateness ${lateness}: ${compared} answers equal, ${compacted} states compacted meanwhile`,
        );
      } finally {
        await engine.close();
        await rm(dataDir, { recursive: true, force: true });
      }
    },
  );
});

function groupByIp(all: readonly Request[]): Map<string, Request[]> {
  const groups = new Map<string, Request[]>();
  for (const request of all) {
    const group = groups.get(request.ip);
    if (group === undefined) groups.set(request.ip, [request]);
    else group.push(request);
  }
  return groups;
}
