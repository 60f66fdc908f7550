/** `maxAge` over HTTP: the status, the age and the value, in strict and partial answers, Arrow, on-demand features and the catalogue. */
import { expect, onTestFinished, test } from 'vitest';
import {
  compileRepo,
  entity,
  featureService,
  featureView,
  last,
  onDemandFeature,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { decodeArrow } from '../serve/testing/decoded-arrow.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS } from './testing/test-repo.ts';

const DAY_MS = 86_400_000;

const source = streamSource({
  name: 'profiles',
  columns: { id: string(), at: timestamp(), user: string(), zip: string({ nullable: true }), plan: string() },
  eventTime: 'at',
  eventId: 'id',
});
const profile = featureView({
  name: 'profile',
  source,
  entity: entity('user'),
  features: { zip: last('zip').lifetime({ maxAge: '30d' }), plan: last('plan').lifetime() },
});
const region = onDemandFeature({
  name: 'region',
  type: 'string',
  inputs: { zip: profile.feature.zip },
  compute: ({ features: { zip } }) => (zip === null ? null : zip.slice(0, 1)),
});
const repo = compileRepo([
  profile,
  featureService({ name: 'known', features: [profile, region], staleFor: '1h' }),
]);

test('a value whose newest event is too old is stale, and given all the same', async () => {
  const engine = await TestEngine.open({ repo });
  onTestFinished(() => engine.close());
  await engine.push('profiles', [
    { id: '1', at: NOON_MS - 40 * DAY_MS, user: 'old', zip: '10115', plan: 'a' },
    // The newest zip is the one before: this event has none.
    { id: '2', at: NOON_MS - DAY_MS, user: 'old', zip: null, plan: 'b' },
    { id: '3', at: NOON_MS - 30 * DAY_MS, user: 'edge', zip: '20095', plan: 'a' },
  ]);
  const bounds = { window: { after: null, until: new Date(NOON_MS).toISOString() } };
  for (const mode of ['strict', 'partial']) {
    const { status, body } = await engine.read('known', { entities: { user: 'old' }, mode });
    expect(status).toBe(200);
    expect(body.features).toEqual({ zip: '10115', plan: 'b', region: '1' });
    // What is present is not worth a word.
    expect(body.metadata.features).toEqual({
      zip: { status: 'stale', age_ms: 40 * DAY_MS, ...bounds },
      region: { status: 'stale', age_ms: 40 * DAY_MS },
    });
  }
  const edge = await engine.read('known', { entities: { user: 'edge' } });
  expect(edge.body).toEqual({ features: { zip: '20095', plan: 'a', region: '2' } });
  engine.clock.advanceTo(NOON_MS + 1);
  const beyond = await engine.read('known', { entities: { user: 'edge' } });
  expect(beyond.body.metadata.features.zip).toMatchObject({ status: 'stale', age_ms: 30 * DAY_MS + 1 });
  const before = await engine.read('known', { entities: { user: 'edge' }, at: NOON_MS });
  expect(before.body.metadata).toBeUndefined();

  const nobody = await engine.read('known', { entities: { user: 'nobody' }, metadata: true });
  expect(nobody.body.metadata.features.zip.status).toBe('empty');

  const response = await engine.engine.app.inject({
    method: 'POST',
    url: '/v1/services/known/features/batch',
    headers: { 'content-type': 'application/json', accept: 'application/vnd.apache.arrow.stream' },
    payload: JSON.stringify({ rows: [{ entities: { user: 'old' } }, { entities: { user: 'nobody' } }] }),
  });
  const { rows } = decodeArrow(response.rawPayload);
  expect(
    rows.map((row) => ['zip', 'zip.status', 'plan.status', 'region.status'].map((name) => row.get(name))),
  ).toEqual([
    ['10115', 'stale', 'present', 'stale'],
    [null, 'empty', 'empty', 'present'],
  ]);

  const { body: catalogue } = await engine.get('/v1/catalog');
  const [zip, plan] = catalogue.views[0].features;
  expect(zip.max_age_ms).toBe(30 * DAY_MS);
  expect(plan).not.toHaveProperty('max_age_ms');
});

test('what has no one newest event, or no such window, has no maxAge', () => {
  const problemsOf = (feature: unknown): string => {
    try {
      compileRepo([
        featureView({ name: 'v', source, entity: entity('user'), features: { f: feature } } as never),
      ]);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  expect(problemsOf(last('zip').lifetime({ maxAge: '30d' }))).toBe('');
  expect(problemsOf(last('zip').by('plan').lifetime({ maxAge: '30d' }))).toContain(
    'maxAge does not go with by',
  );
  expect(problemsOf(last('zip').lifetime({ maxAge: 0 }))).toContain('maxAge is 0ms: it must be at least 1ms');
  expect(problemsOf(last('zip').lifetime({ maxAge: 'soon' as never }))).toContain(
    "maxAge: 'soon' is not a duration",
  );
  expect(problemsOf(last('zip').lastEvents(1, { maxAge: '30d' } as never))).toContain(
    'maxAge goes with the windows of over and lifetime only',
  );
  const window = { kind: 'calendar', unit: 'day', timeZone: 'UTC', weekStart: 'monday' };
  expect(problemsOf({ ...last('zip').lifetime(), maxAgeMs: 1, window })).toContain(
    'maxAge goes with the windows of over and lifetime only',
  );
});
