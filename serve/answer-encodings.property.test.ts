/**
 * The same questions put to random services, answered as JSON, MessagePack and Arrow: the values are the same, read by
 * implementations that are not those that wrote them (@msgpack/msgpack, Flechette), and 64-bit integers are exact.
 *
 * What it does not catch: keys `__proto__` of maps, which @msgpack/msgpack does not read; message-pack.test.ts has them.
 */
import { decode } from '@msgpack/msgpack';
import { describe, expect, test } from 'vitest';
import { type Embedded, openInMemory } from '../embedded/runtime.ts';
import { ManualClock } from '../engine/clock.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { compileRepo } from '../index.ts';
import { ARROW_STREAM_TYPE } from './content-types.ts';
import { decodeArrow } from './testing/decoded-arrow.ts';
import {
  asJson,
  HOUR_MS,
  NOON_MS,
  pairs,
  randomEvent,
  randomService,
  ratio,
} from './testing/random-service.ts';

const SEEDS = Array.from({ length: 8 }, (_, i) => i + 1);

async function ask(engine: Embedded, path: string, body: object, accept: string): Promise<Buffer> {
  const response = await engine.app.inject({
    method: 'POST',
    url: `/v1/services/random/${path}`,
    headers: { 'content-type': 'application/json', accept },
    payload: JSON.stringify(body),
  });
  expect([response.statusCode, String(response.headers['content-type']).split(';')[0]]).toEqual([
    200,
    accept,
  ]);
  return response.rawPayload;
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape.
type Any = any;

/** Text whose integers beyond 2⁵³ are quoted: parsing it loses nothing. */
const parsed = (json: Buffer): Any => JSON.parse(json.toString('utf8'));
const unpacked = (bytes: Buffer): Any => decode(bytes, { useBigInt64: true });

describe('JSON, MessagePack and Arrow say the same', () => {
  test.each(SEEDS)('seed %i', async (seed) => {
    const random = new SeededRandom(seed);
    const service = randomService(random);
    const engine = await openInMemory({
      repo: compileRepo([service]),
      wallClock: new ManualClock(NOON_MS),
      processMetrics: false,
    });
    try {
      if (engine.push.gateway('things') !== undefined) {
        const events = Array.from({ length: random.below(60) }, (_, i) => randomEvent(random, i));
        const pushed = await engine.push.push('things', events, { wait: 'applied' });
        expect(pushed.rejected).toEqual([]);
      }
      const rows = Array.from({ length: random.between(0, 90) }, () =>
        random.chance(0.1)
          ? random.pick([{ at: 'never' }, { entities: { who: 1 } }, 3])
          : { entities: { key: random.pick(['k1', 'k2', 'k3']) }, at: NOON_MS - random.below(3 * HOUR_MS) },
      );
      const usesKey =
        service.features.some(({ kind }) => kind !== 'on_demand_feature') || service.features.includes(ratio);
      const questions = rows.map((row) =>
        usesKey || typeof row === 'number' || !('entities' in row) || 'who' in row.entities!
          ? row
          : { at: row.at },
      );
      for (const metadata of [false, true]) {
        const json = parsed(
          await ask(engine, 'features/batch', { rows: questions, metadata }, 'application/json'),
        );
        const packed = unpacked(
          await ask(engine, 'features/batch', { rows: questions, metadata }, 'application/msgpack'),
        );
        expect(asJson(packed)).toEqual(json);
        const table = decodeArrow(
          await ask(engine, 'features/batch', { rows: questions, metadata }, ARROW_STREAM_TYPE),
        );
        compareArrow(table, json.rows);
        for (const question of questions.slice(0, 3)) {
          if (typeof question === 'number' || !('at' in question) || question.at === 'never') continue;
          const one = { ...question, metadata };
          const alone = parsed(await ask(engine, 'features', one, 'application/json'));
          expect(asJson(unpacked(await ask(engine, 'features', one, 'application/vnd.msgpack')))).toEqual(
            alone,
          );
        }
      }
    } finally {
      await engine.close();
    }
  });
});

/** Sums may be larger: the one kind of value that Arrow's columns do not take. */
function fitsInt64(value: unknown): boolean {
  if (typeof value === 'string')
    return !/^-?\d{19,}$/.test(value) || BigInt.asIntN(64, BigInt(value)) === BigInt(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(fitsInt64);
}

function compareArrow({ rows }: ReturnType<typeof decodeArrow>, json: Any[]): void {
  expect(rows).toHaveLength(json.length);
  rows.forEach((row, r) => {
    const { error, features, metadata } = json[r]!;
    const text = (name: string): Any => {
      const value = row.get(name) as string | null;
      return value === null ? undefined : JSON.parse(value);
    };
    expect(text('row.error')).toEqual(error);
    if (error !== undefined) {
      for (const [name, value] of row) if (name !== 'row.error') expect([name, value]).toEqual([name, null]);
      return;
    }
    const own = text('row.metadata');
    const lost = new Set<string>();
    for (const [name, value] of Object.entries(features)) {
      const status = row.get(`${name}.status`);
      const found = row.get(name);
      if (!fitsInt64(value)) {
        expect([name, status, found]).toEqual([name, 'error', null]);
        lost.add(name);
        continue;
      }
      expect([name, asJson(name.startsWith('top_') ? pairs(found) : found)]).toEqual([name, value]);
      const said = metadata?.features[name]?.status;
      expect(['present', 'empty', 'error']).toContain(status);
      if (said !== undefined) expect([name, status]).toEqual([name, said]);
    }
    if (lost.size === 0) {
      expect(own).toEqual(metadata);
      if (metadata !== undefined) expect(row.get('row.at')).toBe(metadata.at_ms);
    } else for (const name of lost) expect(own.features[name].status).toBe('error');
  });
}
