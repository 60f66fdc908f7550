/**
 * Random definitions and events: states made of a history's files have the values that the brute-force oracle has. Files of
 * texts and of columns, repeats under event ids, events of several partitions in any order of files, cut at offsets.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import { toJsonValue } from '../engine/definitions/to-json-value.ts';
import type { EventRow, FeatureView } from '../engine/definitions/types.ts';
import { integerEventId, positionEventId, textEventId } from '../engine/event-id.ts';
import { isRight, show, showAnswer } from '../engine/testing/is-right.ts';
import { TARGETS, targetOf } from '../engine/testing/matrix/cells.ts';
import { type OracleEvent, oracleAnswer } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { type RandomRepo, randomRepo } from '../engine/testing/random-repo.ts';
import { SingleView } from '../engine/testing/single-view.ts';
import { TIME_END_MS } from '../engine/tiles/grid.ts';
import { newEdgeOffsetMs } from '../engine/windows/window-reach.ts';
import { DuckDb, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { fillFromHistory } from './fill-from-history.ts';
import { tableFiles } from './table-files.ts';

const GROUPS = 4;
const SEEDS = Array.from({ length: 64 }, (_, i) => i);
const RETENTION_MS = 4_000 * 86_400_000;
const PARTITIONS = 3;

const dir = mkdtempSync(join(tmpdir(), 'millrace-states-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** In the log; `offset` within its partition. */
interface LoggedEvent extends OracleEvent {
  readonly idValue: ColumnValue;
  readonly partition: number;
  readonly offset: number;
}

function randomLog(random: SeededRandom, repo: RandomRepo): LoggedEvent[] {
  const ends = Array.from({ length: PARTITIONS }, () => random.below(50));
  const events: LoggedEvent[] = [];
  let timeMs = repo.startMs;
  for (let n = random.pick([1, 10, 60, 120]); n > 0; n--) {
    if (random.chance(0.7))
      timeMs += random.below(Math.ceil(random.pick([1, repo.scaleMs, 20 * repo.scaleMs])) + 1);
    const back = random.chance(0.2) ? random.below(Math.ceil(30 * repo.scaleMs)) : 0;
    const serial = events.length;
    const earlier = serial > 0 && repo.idKind !== 'none' && random.chance(0.1) ? random.pick(events) : null;
    const at = earlier?.timeMs ?? Math.max(0, Math.min(timeMs - back, TIME_END_MS - 1));
    const idValue =
      earlier?.idValue ??
      { none: null, string: `event ${serial}`, integer: serial, long: 2n ** 62n - BigInt(serial) }[
        repo.idKind
      ];
    const partition = random.below(PARTITIONS);
    // Transactions leave holes.
    const offset = ends[partition]! + 1 + (random.chance(0.2) ? random.below(3) : 0);
    ends[partition] = offset;
    const id =
      idValue === null
        ? positionEventId(partition, offset)
        : typeof idValue === 'string'
          ? textEventId(idValue)
          : integerEventId(idValue as number | bigint);
    const row = earlier?.row ?? repo.row(random, at, idValue);
    events.push({ timeMs: at, id, idValue, row, partition, offset });
  }
  return events;
}

async function compare(seed: number): Promise<number> {
  const random = new SeededRandom(seed);
  const repo = randomRepo(random, String(seed), targetOf(Math.floor((seed * TARGETS.length) / SEEDS.length)));
  const definition = {
    ...repo.views[0]!.definition,
    asOfRetentionMs: RETENTION_MS,
    resolutionMs: null,
  } as FeatureView;
  const log = randomLog(random, repo);
  const newestMs = log.reduce((ms, { timeMs }) => Math.max(ms, timeMs), 0);
  const online = new SingleView(definition, { startMs: newestMs + 1 });
  const { view } = online;
  if (view.features.some(({ window }) => window.kind === 'last_events')) return 0;

  const cut = Array.from({ length: PARTITIONS }, (_, partition) => {
    const own = log.filter((event) => event.partition === partition).map(({ offset }) => offset);
    return own.length === 0 ? 0 : random.pick([0, ...own, own.at(-1)! + 1]);
  });
  const below = log.filter(({ partition, offset }) => offset < cut[partition]!);
  // Each once.
  const events = below.filter(
    ({ idValue, row }, i) =>
      idValue === null ||
      below.findIndex((other) => other.idValue === idValue && String(other.row.card) === String(row.card)) ===
        i,
  );
  const lines = [...log]
    .sort(() => random.below(3) - 1)
    .map(({ row, partition, offset }) => ({
      ...(toJsonValue(row) as object),
      ...{ _partition: partition, _offset: offset, _appended_at: newestMs },
    }));
  const ndjson = join(dir, `${seed}.ndjson`);
  writeFileSync(ndjson, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const parquet = join(dir, `${seed}.parquet`);
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  try {
    // As an archive has them: columns of their types, and where each record was.
    const staged = await EventHistory.open(db, view.source, await tableFiles(ndjson), dir);
    const names = Object.keys(view.source.columns);
    await db.run(
      `COPY (SELECT h.* EXCLUDE ("$arrival", "$position", "$repeat_id", "$partition", "$offset", "$appended", "$stamp", "$origin", "$invalid"),
         r._partition, r._offset, make_timestamp(r._appended_at * 1000) AS _appended_at
       FROM (${staged.select(names)}) h
       JOIN (SELECT *, row_number() OVER () - 1 AS n FROM read_json(${text(ndjson)}, format = 'newline_delimited',
         columns = {_partition: 'INTEGER', _offset: 'BIGINT', _appended_at: 'BIGINT'})) r ON r.n = h."$arrival") TO ${text(parquet)}`,
    );
    const history = await EventHistory.open(db, view.source, await tableFiles(parquet), dir);
    expect(history.hasOffsets).toBe(true);
    const filled = await fillFromHistory(
      {
        ...{ db, view, history, cut, nowMs: newestMs + 1, load: 1 },
        sink: {
          write: async (states) => {
            for (const state of states) await online.write(state);
            return states.length;
          },
          complete: async (ms) => {
            const newest = Array.from({ length: PARTITIONS }, (_, partition) =>
              below
                .filter((event) => event.partition === partition && event.row.card !== null)
                .reduce((latest, { timeMs }) => Math.max(latest, timeMs), -1),
            );
            expect(ms).toEqual(newest);
          },
        },
      },
      new AbortController().signal,
    );
    expect(filled!.events).toBeLessThanOrEqual(filled!.totalEvents);
  } finally {
    db.close();
  }

  let values = 0;
  for (let n = 0; n < 10; n++) {
    const near = random.pick(log);
    if (near.row.card === null || near.timeMs < newestMs - RETENTION_MS) continue;
    const { window } = random.pick(view.features);
    const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
    const moved = near.timeMs + newEdgeOffsetMs(window) + size + random.between(-1, 1);
    const atMs = Math.max(0, Math.min(moved, TIME_END_MS - 1));
    const key = String(random.chance(0.8) ? near.row.card : random.pick(repo.keys));
    const got = await online.values(key, atMs, null as EventRow | null);
    for (const feature of view.features) {
      const { column } = view.definition.features[feature.name]!;
      const expected = oracleAnswer({ view, feature, column, key, atMs, events });
      const value = got[feature.name];
      if (!isRight({ feature, expected, got: value, atMs }))
        expect.fail(
          `${feature.name} of '${key}' at ${atMs}: expected ${showAnswer(expected)}, got ${show(value as never)}`,
        );
      values++;
    }
  }
  return values;
}

describe('states of a history have the values of the oracle', () => {
  test.each(Array.from({ length: GROUPS }, (_, i) => i))(`seeds ≡ %i modulo ${GROUPS}`, async (rest) => {
    let values = 0;
    for (const seed of SEEDS.filter((own) => own % GROUPS === rest)) {
      try {
        values += await compare(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(values).toBeGreaterThan(50);
  });
});
