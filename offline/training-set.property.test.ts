/**
 * Random definitions, events and spines: the training set has the values that the brute-force oracle has, and those that a
 * store answers for the same moments online. Every operation over every kind of window; events in any order, repeated under
 * their ids, with equal times; rows about events and about none; and later events change nothing.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Arrow from 'apache-arrow';
import { afterAll, describe, expect, test } from 'vitest';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { featureService } from '../engine/definitions/feature-service.ts';
import { resultTypeOf } from '../engine/definitions/result-type.ts';
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
import { trainingSet } from './make-training-set.ts';
import { tableFiles } from './table-files.ts';
import { featureValueOf } from './testing/arrow-values.ts';

const GROUPS = 8;
const SEEDS = Array.from({ length: 96 }, (_, i) => i);

const dir = mkdtempSync(join(tmpdir(), 'millrace-training-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface HistoryEvent extends OracleEvent {
  readonly idValue: ColumnValue;
}

interface SpineRow {
  readonly key: ColumnValue;
  readonly atMs: number;
  readonly about: HistoryEvent | null;
}

function randomHistory(random: SeededRandom, repo: RandomRepo): HistoryEvent[] {
  const { dedupeHorizonMs } = repo.source.definition;
  const events: HistoryEvent[] = [];
  let timeMs = repo.startMs;
  for (let n = random.pick([0, 4, 40, 120]); n > 0; n--) {
    const earlier =
      events.length > 0 && repo.idKind !== 'none' && random.chance(0.1) ? random.pick(events) : null;
    if (random.chance(0.7))
      timeMs += random.below(Math.ceil(random.pick([1, repo.scaleMs, 20 * repo.scaleMs])) + 1);
    const back = random.chance(0.3) ? random.below(Math.ceil(30 * repo.scaleMs)) : 0;
    const moved =
      earlier === null ? 0 : random.pick([0, 0, 1, dedupeHorizonMs, -dedupeHorizonMs, dedupeHorizonMs + 1]);
    const at = Math.max(0, Math.min((earlier?.timeMs ?? timeMs - back) + moved, TIME_END_MS - 1));
    const serial = events.length;
    const idValue = earlier?.idValue ?? idOf(random, repo, serial);
    const id =
      idValue === null
        ? positionEventId(0, serial)
        : typeof idValue === 'string'
          ? textEventId(idValue)
          : integerEventId(idValue as number | bigint);
    const row = {
      ...withoutMarks(repo.row(random, at, idValue)),
      ...(earlier === null ? {} : { card: earlier.row.card! }),
    };
    events.push({ timeMs: at, id, idValue, row });
  }
  return events;
}

/** Arrow's library takes a byte order mark off a text that it reads. */
function withoutMarks(row: EventRow): EventRow {
  const cleared = Object.entries(row).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.replaceAll('\ufeff', 'mark') : value,
  ]);
  return Object.fromEntries(cleared) as EventRow;
}

function idOf(random: SeededRandom, repo: RandomRepo, serial: number): ColumnValue {
  switch (repo.idKind) {
    case 'none':
      return null;
    case 'string':
      return `event ${serial}`;
    case 'integer':
      return random.between(-3, 3) * 1_000 + serial;
    case 'long':
      return random.chance(0.5) ? 2n ** 62n - BigInt(serial) : -serial;
  }
}

/** Each once, by the rule of C4: of one key and id within the horizon the first to arrive. */
function accepted(repo: RandomRepo, events: readonly HistoryEvent[]): HistoryEvent[] {
  const counted: HistoryEvent[] = [];
  for (const event of events) {
    const isRepeat = counted.some(
      (other) =>
        event.idValue !== null &&
        other.idValue === event.idValue &&
        String(other.row.card) === String(event.row.card) &&
        Math.abs(other.timeMs - event.timeMs) <= repo.source.definition.dedupeHorizonMs,
    );
    if (!isRepeat) counted.push(event);
  }
  return counted;
}

function randomSpine(
  random: SeededRandom,
  repo: RandomRepo,
  view: CompiledView,
  events: readonly HistoryEvent[],
): SpineRow[] {
  return Array.from({ length: random.pick([1, 30]) }, (): SpineRow => {
    const near = events.length > 0 && random.chance(0.9) ? random.pick(events) : null;
    if (near === null) return { key: random.pick(repo.keys), atMs: repo.startMs, about: null };
    if (repo.idKind !== 'none' && random.chance(0.5))
      return { key: near.row.card!, atMs: near.timeMs, about: near };
    const { window } = random.pick(view.features);
    const size = 'sizeMs' in window && random.chance(0.6) ? window.sizeMs : 0;
    const atMs = near.timeMs + newEdgeOffsetMs(window) + size + random.between(-1, 1);
    return {
      key: random.chance(0.8) ? near.row.card! : random.pick(repo.keys),
      atMs: Math.max(0, Math.min(atMs, TIME_END_MS - 1)),
      about: null,
    };
  });
}

const json = (value: ColumnValue): unknown => (typeof value === 'bigint' ? String(value) : value);

function writeLines(name: string, rows: readonly object[]): string {
  const file = join(dir, name);
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return file;
}

/** The same events as columns with types, in two files. */
async function asParquet(view: CompiledView, ndjson: string, name: string): Promise<string> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  try {
    const history = await EventHistory.open(db, view.source, await tableFiles(ndjson), dir);
    const columns = Object.keys(view.source.columns);
    const rows = history.select(columns);
    const { n } = await db.row(`SELECT count(*) AS n FROM (${rows})`);
    const names = columns.map((column) => `"${column}"`).join(', ');
    for (const [part, condition] of [
      `"$arrival" < ${Number(n) / 2}`,
      `"$arrival" >= ${Number(n) / 2}`,
    ].entries()) {
      const file = text(join(dir, `${name}-${part}.parquet`));
      await db.run(`COPY (SELECT ${names} FROM (${rows}) WHERE ${condition} ORDER BY "$arrival") TO ${file}`);
    }
    return join(dir, `${name}-*.parquet`);
  } finally {
    db.close();
  }
}

async function compare(seed: number): Promise<number> {
  const random = new SeededRandom(seed);
  const repo = randomRepo(random, String(seed), targetOf(Math.floor((seed * TARGETS.length) / SEEDS.length)));
  // One that answers for any moment online, too.
  const definition = {
    ...repo.views[0]!.definition,
    asOfRetentionMs: 4_000 * 86_400_000,
    resolutionMs: null,
  } as FeatureView;
  // Some of the view's features: what only others need is left out.
  const names = Object.keys(definition.features).filter((_, i) => i === 0 || random.chance(0.7));
  const all = featureService({
    name: 'all',
    features: names.map((name) => ({ kind: 'feature_reference', view: definition, name })),
  });
  const compiled = compileRepo([definition, all]);
  const view = compiled.views.get(definition.name)!;
  const history = randomHistory(random, repo);
  const events = accepted(repo, history);
  const spine = randomSpine(random, repo, view, events);
  const later = spine.reduce((ms, { atMs }) => Math.max(ms, atMs), 0) + 1;

  const historyFile = writeLines(
    `${seed}-history.ndjson`,
    history.map(({ row }) => toJsonValue(row)),
  );
  const spineFile = writeLines(
    `${seed}-spine.ndjson`,
    spine.map(({ key, atMs, about }, label) => ({
      ...{ card: json(key), as_of: atMs, label },
      ...(repo.idKind === 'none' ? {} : { about: about === null ? null : json(about.idValue) }),
    })),
  );
  const ask = (from: string): Promise<Arrow.Table> =>
    trainingSet({
      ...{ repo: compiled, service: 'all', spine: spineFile, history: from, time: 'as_of', threads: 1 },
      eventId: repo.idKind === 'none' ? null : 'about',
    });
  const parquet = history.length > 0 && random.chance(0.5);
  const table = await ask(parquet ? await asParquet(view, historyFile, `${seed}`) : historyFile);
  expect(table.numRows).toBe(spine.length);

  // What comes later changes nothing of what was.
  const future =
    history.length === 0 || later >= TIME_END_MS
      ? []
      : history.slice(0, 5).map(({ row }, n) => ({
          ...row,
          at: later + n,
          ...(repo.idKind === 'none' ? {} : { id: repo.idKind === 'string' ? `later ${n}` : 1_000_000 + n }),
        }));
  const more = writeLines(
    `${seed}-more.ndjson`,
    [...history.map(({ row }) => row), ...future].map((row) => toJsonValue(row)),
  );
  const again = future.length === 0 ? table : await ask(more);

  const online = await onlineOf(repo, view, definition, events, later);
  let values = 0;
  for (const [i, { key, atMs, about }] of spine.entries()) {
    const row = table.get(i)!.toJSON() as Record<string, unknown>;
    expect(Number(row.label)).toBe(i);
    const changed = again.get(i)!.toJSON() as Record<string, unknown>;
    const answers =
      online === null || key === null ? null : await online.values(String(key), atMs, about?.row ?? null);
    for (const feature of view.features.filter(({ name }) => names.includes(name))) {
      const { column } = view.definition.features[feature.name]!;
      const valueIn = (from: Record<string, unknown>) =>
        featureValueOf(resultTypeOf(feature), feature.type ?? 'string', from[feature.name]);
      const got = valueIn(row);
      values++;
      expect(valueIn(changed), `row ${i}, ${feature.name}, with later events`).toEqual(got);
      if (key === null) {
        expect(got).toBeNull();
        continue;
      }
      const expected = oracleAnswer({
        ...{ view, feature, column, key: String(key), atMs, events },
        ...(about === null ? {} : { last: about.id }),
      });
      const where = `row ${i}, ${feature.name} of '${key}' at ${atMs}`;
      const written = (value: unknown): unknown => asRead(value);
      if (!isRight({ feature, expected, got, atMs, written: written as never }))
        expect.fail(`${where}: expected ${showAnswer(expected)}, got ${show(got)}`);
      // Sketches beyond their bound are the same only within their error.
      if (answers !== null && !APPROXIMATE.test(feature.operation.name))
        expect(show(got), `${where}, online`).toBe(show(asRead(answers[feature.name]) as never));
    }
  }
  return values;
}

const APPROXIMATE = /^(approx_distinct_count|distinct_count|percentiles?|median|top_k_frequent|entropy)$/;

/** Sums of more than 64 bits have no place in a table. */
function asRead(value: unknown): unknown {
  if (typeof value === 'bigint') return BigInt.asIntN(64, value) === value ? value : null;
  if (Array.isArray(value)) return value.map(asRead);
  if (value instanceof Map) return new Map([...value].map(([key, v]) => [key, asRead(v)]));
  return value;
}

/** The same events in a store, half of them compacted; null: without ids a store cannot be asked about an event. */
async function onlineOf(
  repo: RandomRepo,
  view: CompiledView,
  definition: FeatureView,
  events: readonly HistoryEvent[],
  nowMs: number,
): Promise<SingleView | null> {
  if (repo.idKind === 'none') return null;
  // Windows of last events are for now; online they remember some rows only.
  if (view.features.some(({ window }) => window.kind === 'last_events')) return null;
  const it = new SingleView(definition, { startMs: nowMs, shape: { leafBytesMax: 200, tailRowsMax: 4 } });
  const half = Math.floor(events.length / 2);
  await it.apply(events.slice(0, half).map(({ row }) => row));
  await it.compact();
  await it.apply(events.slice(half).map(({ row }) => row));
  return it;
}

describe('a training set has the values of the oracle, and of a store', () => {
  test.each(Array.from({ length: GROUPS }, (_, i) => i))(`seeds ≡ %i modulo ${GROUPS}`, async (rest) => {
    let values = 0;
    for (const seed of SEEDS.filter((own) => own % GROUPS === rest)) {
      try {
        values += await compare(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(values).toBeGreaterThan(100);
  });
});
