import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestEngine } from '../../embedded/testing/test-engine.ts';
import { payment } from '../../embedded/testing/test-repo.ts';
import { MESSAGE_PACK_TYPES } from '../content-types.ts';

let it: TestEngine;
beforeAll(async () => {
  it = await TestEngine.open();
});
afterAll(() => it.close());

// biome-ignore lint/suspicious/noExplicitAny: items of every shape.
const named = (items: { name: string }[], name: string): any => items.find((item) => item.name === name);

describe('GET /v1/catalog', () => {
  test('shows sources, entities, views, features and services', async () => {
    const { status, body } = await it.get('/v1/catalog');
    expect(status).toBe(200);
    expect(named(body.sources, 'payments')).toMatchObject({
      event_time: 'at',
      event_id: 'id',
      dedupe_horizon_ms: 3_600_000,
      owner: 'payments team',
      columns: expect.arrayContaining([{ name: 'shop', type: 'string', nullable: true }]),
    });
    expect(body.entities.map(({ name }: { name: string }) => name).sort()).toEqual(['card', 'shop']);
    const spend = named(body.views, 'spend');
    expect(spend).toMatchObject({
      source: 'payments',
      entity: 'card',
      key_column: 'card',
      as_of_retention_ms: 86_400_000,
    });
    expect(named(spend.features, 'payments_before_1h')).toMatchObject({
      kind: 'aggregate',
      aggregation: { operation: 'count', column: null },
      window: { kind: 'sliding', size: '1h', size_ms: 3_600_000, offset: '1h', offset_ms: 3_600_000 },
      empty: 0,
    });
    expect(named(spend.features, 'payments_1h')).toMatchObject({
      description: 'Payments in an hour.',
      tags: ['hourly'],
    });
    expect(named(spend.features, 'amounts_last_1h')).toMatchObject({
      aggregation: { operation: 'last_n', column: 'amount', params: { n: 3 } },
    });
    expect(named(spend.features, 'payments_ever')).toMatchObject({
      window: { kind: 'lifetime', size_ms: null },
    });
    const decision = named(body.services, 'decision');
    expect(decision).toMatchObject({
      entities: ['card', 'shop'],
      ...{ deadline: '2s', deadline_ms: 2_000, stale_for: '0ms', stale_for_ms: 0 },
    });
    expect(decision.features.map(({ name }: { name: string }) => name)).toEqual([
      'amount_ratio',
      'after_moody',
      'moody',
      'payments_1h',
      'shop_payments_1h',
      'shop_cents_1h',
    ]);
    expect(named(decision.features, 'amount_ratio')).toMatchObject({
      kind: 'on_demand',
      inputs: [{ name: 'biggest', feature: 'amount_max_1d', view: 'spend' }],
      request: [{ name: 'amount', type: 'double', nullable: false }],
    });
  });
});

describe('GET /openapi.json', () => {
  test('describes every route, methods that are refused left out', async () => {
    const { body } = await it.get('/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    const routes = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `${method} ${path}`),
    );
    expect(routes.sort()).toEqual([
      'delete /v1/views/{view}/rebuild',
      'get /healthz',
      'get /metrics',
      'get /openapi.json',
      'get /readyz',
      'get /v1/catalog',
      'get /v1/gaps',
      'get /v1/sources/{source}/dead-letters',
      'get /v1/sources/{source}/dead-letters/{partition}/{offset}',
      'get /v1/views/{view}/backfill',
      'get /v1/views/{view}/rebuild',
      'post /v1/gaps/acknowledge',
      'post /v1/services/{service}/features',
      'post /v1/services/{service}/features/batch',
      'post /v1/sources/{source}/dead-letters/discard',
      'post /v1/sources/{source}/dead-letters/replay',
      'post /v1/sources/{source}/events',
      'post /v1/views/{view}/backfill',
      'post /v1/views/{view}/backfill/complete',
      'post /v1/views/{view}/backfill/states',
      'post /v1/views/{view}/rebuild',
    ]);
    const push = body.paths['/v1/sources/{source}/events'].post;
    expect(Object.keys(push.requestBody.content)).toEqual([
      'application/json',
      ...MESSAGE_PACK_TYPES,
      'application/x-ndjson',
    ]);
    expect(push.parameters.map(({ name }: { name: string }) => name).sort()).toEqual([
      'dry_run',
      'source',
      'wait',
    ]);
  });
});

describe('GET /metrics', () => {
  test('counts what happened, without keys or ids', async () => {
    await it.push('payments', [payment({ card: 'private-card', id: 'private-id' }), {}]);
    await it.read('card', { entities: { card: 'private-card' } });
    const { body } = await it.get('/metrics');
    expect(body).toContain('millrace_push_events_total{source="payments",outcome="accepted"} 1');
    expect(body).toContain('millrace_push_events_total{source="payments",outcome="rejected"} 1');
    expect(body).toContain('millrace_events_applied_total{view="spend",outcome="applied"} 1');
    expect(body).toMatch(/millrace_feature_values_total\{service="card",status="present"\} \d+/);
    expect(body).toContain('millrace_consumer_lag_records{source="payments",partition="0"} 0');
    expect(body).toContain('millrace_ready 1');
    expect(body).toContain(
      'millrace_http_requests_total{route="/v1/services/:service/features",method="POST",status="200"} 1',
    );
    expect(body).not.toContain('private');
  });
});
