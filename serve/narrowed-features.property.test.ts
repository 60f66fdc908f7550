/**
 * Requests for some features of a service (`features`): whatever is asked for, the answer is that part of the whole
 * answer, and the store is asked for no field that these features' windows do not need.
 *
 * Another seed: `PROPERTY_SEED=123456`. What it does not catch: a field that is read although it is absent from every
 * state of the features asked for (the fields of a plan are those of `WindowRead`, which has tests of its own).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compose, type Embedded } from '../embedded/runtime.ts';
import { openMemoryStorage } from '../embedded/storage.ts';
import { NOON_MS, payment, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { narrowService } from '../engine/definitions/compile-service.ts';
import { fieldsOf } from '../engine/store/read-fields.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import type { ReadRequest, ReadState } from '../engine/store/tile-store.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { WindowRead } from '../engine/windows/window-read.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const ROUNDS = 150;
const CARDS = ['a', 'b', 'never seen'];
const SHOPS = ['s1', 's2'];

/** What a question asks the store for. */
class CountedStore extends ForwardingStore {
  asked: ReadRequest[] = [];
  isCounting = false;

  override read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    if (this.isCounting) this.asked.push(...requests);
    return super.read(requests);
  }
}

let store: CountedStore;
let engine: Embedded;

beforeAll(async () => {
  const storage = openMemoryStorage();
  store = new CountedStore(storage.store);
  engine = await compose(
    {
      repo: testRepo,
      wallClock: new ManualClock(NOON_MS),
      processMetrics: false,
      // Deep trees: the fields of a window differ from those of another.
      shape: { ...DEFAULT_TILE_SHAPE, leafBytesMax: 80, tailRowsMax: 3 },
    },
    { ...storage, store },
  );
  const random = new SeededRandom(SEED);
  const events = Array.from({ length: 400 }, () =>
    payment({
      card: random.pick(CARDS.slice(0, 2)),
      shop: random.pick(SHOPS),
      at: NOON_MS - random.below(26 * 3_600_000),
      amount: random.below(1_000),
      refused: random.pick([true, false, null]),
    }),
  );
  await engine.push.push('payments', events, { wait: 'applied' });
});
afterAll(() => engine.close());

const post = async (url: string, body: object) => {
  store.asked = [];
  store.isCounting = true;
  const response = await engine.app.inject({ method: 'POST', url, payload: body });
  store.isCounting = false;
  return { status: response.statusCode, body: response.json(), asked: store.asked };
};

/** At least one, in any order. */
function someOf(names: readonly string[], random: SeededRandom): string[] {
  const left = [...names];
  return Array.from(
    { length: random.between(1, names.length) },
    () => left.splice(random.below(left.length), 1)[0]!,
  );
}

/** Of one question, by namespace: the fields that the windows of these features need. */
const fieldsNeeded = (service: string, names: ReadonlySet<string>, atMs: number) =>
  new Map(
    narrowService(testRepo.services.get(service)!, names).views.map(({ view, features }) => [
      view.namespace,
      fieldsOf(new WindowRead(view, features).lookup(atMs, null)).sort(),
    ]),
  );

describe.each(['card', 'decision', 'both'])('features of service %s', (name) => {
  const service = testRepo.services.get(name)!;
  const all = service.output.map((feature) => feature.name);
  const random = new SeededRandom(SEED);

  test(`are a part of the whole answer, whichever are asked for (seed ${SEED})`, async () => {
    let narrower = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const features = someOf(all, random);
      const names = new Set(features);
      const atMs = NOON_MS - random.pick([0, 1, 3_600_000, random.below(5 * 3_600_000)]);
      const entities: Record<string, string> = { card: random.pick(CARDS) };
      if (name === 'decision') entities.shop = random.pick(SHOPS);
      const request =
        name === 'decision' ? { amount: random.below(100), mood: random.pick(['bad', 'ok']) } : {};
      const question = { entities, request, at: atMs };
      const url = `/v1/services/${name}/features`;

      const whole = await post(url, { ...question, metadata: true });
      expect(whole.status).toBe(200);
      const part = (of: Record<string, unknown>) =>
        Object.entries(of).filter(([feature]) => names.has(feature));
      const projected = {
        features: Object.fromEntries(part(whole.body.features)),
        metadata: {
          ...whole.body.metadata,
          features: Object.fromEntries(part(whole.body.metadata.features)),
        },
      };

      // Only what these features need is given, half of the time.
      const narrowed = narrowService(service, names);
      const needed = random.chance(0.5)
        ? question
        : {
            entities: Object.fromEntries(
              narrowed.entities.map((entity) => [entity.name, entities[entity.name]]),
            ),
            request: Object.fromEntries(
              Object.keys(narrowed.request).map((column) => [
                column,
                request[column as keyof typeof request],
              ]),
            ),
            at: atMs,
          };
      const answer = await post(url, { ...needed, features, metadata: true });
      expect(answer.body).toEqual(projected);
      expect(Object.keys(answer.body.features)).toEqual(all.filter((feature) => names.has(feature)));

      const expected = fieldsNeeded(name, names, atMs);
      const found = new Map(
        answer.asked.map((request) => [request.address.namespace, fieldsOf(request).sort()]),
      );
      expect(found).toEqual(expected);
      expect(answer.asked).toHaveLength(expected.size);
      const count = (asked: readonly ReadRequest[]) =>
        asked.reduce((sum, request) => sum + fieldsOf(request).length, 0);
      expect(count(answer.asked)).toBeLessThanOrEqual(count(whole.asked));
      if (count(answer.asked) < count(whole.asked)) narrower++;

      const { at, ...row } = needed;
      const batch = await post(`${url}/batch`, {
        rows: [
          { ...row, at },
          { ...row, at },
        ],
        features,
        metadata: true,
      });
      expect(batch.body.rows).toEqual([projected, projected]);
    }
    // Else nothing has been shown.
    expect(narrower).toBeGreaterThan(ROUNDS / 10);
  });

  test('still need their keys and request data', async () => {
    const features = [all[0]!];
    const { status, body } = await post(`/v1/services/${name}/features`, { features });
    expect(status).toBe(400);
    expect(body.error.code).toBe('missing_entity');
  });
});

test('the event fills in the keys as it does for all features, and is recorded although none of them counts it', async () => {
  const click = { at: NOON_MS, card: 'filler', page: 'a' };
  const body = { event: { source: 'clicks', data: click }, ingest: true, features: ['payments_1h'] };
  const { status, body: answer } = await post('/v1/services/both/features', body);
  expect(status).toBe(200);
  expect(answer).toEqual({ features: { payments_1h: 0 }, ingested: 'recorded' });
  await engine.ready();
  const clicks = await post('/v1/services/both/features', {
    entities: { card: 'filler' },
    features: ['clicks_1h'],
  });
  expect(clicks.body).toEqual({ features: { clicks_1h: 1 } });
});

test('features of request data alone ask the store for nothing', async () => {
  const body = { features: ['after_moody', 'moody'], request: { mood: 'ok' } };
  const answer = await post('/v1/services/decision/features', body);
  expect(answer).toMatchObject({ status: 200, body: { features: { moody: 1, after_moody: 2 } }, asked: [] });
});
