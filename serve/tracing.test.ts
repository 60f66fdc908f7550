/** Spans, with the SDK that others would bring: recorded in memory. */
import { request } from 'node:http';
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TestEngine } from '../embedded/testing/test-engine.ts';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { waitUntil } from '../services/process/wait-until.ts';

const SECRET = 'sEcReT';
const ROUTE = 'POST /v1/services/:service/features';
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PARENT_ID = 'b7ad6b7169203331';
const headers = { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` };
const decision = {
  entities: { card: `${SECRET}1`, shop: `${SECRET}2` },
  request: { amount: 5, mood: `${SECRET}3` },
};

let it: TestEngine;
let address: string;
beforeEach(async () => {
  it = await TestEngine.open();
  address = await it.engine.app.listen({ port: 0, host: '127.0.0.1' });
});
afterEach(() => it.close());

/** Over a socket, the body behind the head: what goes on when it arrives must still be below the request. */
const ask = (body: object, more: Record<string, string> = {}): Promise<number> =>
  new Promise((resolve, reject) => {
    const sent = request(`${address}/v1/services/decision/features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', expect: '100-continue', ...more },
    });
    sent.once('continue', () => sent.end(JSON.stringify(body)));
    sent.once('error', reject);
    sent.once('response', (response) => {
      response.resume().once('end', () => resolve(response.statusCode!));
    });
    sent.flushHeaders();
  });

describe('with an SDK', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    trace.setGlobalTracerProvider(provider);
  });
  afterEach(() => exporter.reset());
  afterAll(async () => {
    trace.disable();
    context.disable();
    propagation.disable();
    await provider.shutdown();
  });

  const spans = (): ReadableSpan[] => exporter.getFinishedSpans();
  const named = (name: string): ReadableSpan => spans().find((span) => span.name === name)!;
  /** The span of a request ends after its answer. */
  const ended = (name: string): Promise<void> =>
    waitUntil(async () => named(name) !== undefined, { what: name, timeoutMs: 60_000 });
  const timeOf = ([seconds, nanos]: ReadableSpan['startTime']): number => seconds * 1e3 + nanos / 1e6;

  test('a request is a span below that of its caller, and its stages are below it', async () => {
    const startedMs = Date.now();
    expect(await ask(decision, headers)).toBe(200);
    await ended(ROUTE);
    const root = named(ROUTE);
    expect(root.spanContext().traceId).toBe(TRACE_ID);
    expect(root.parentSpanContext?.spanId).toBe(PARENT_ID);
    expect(root.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/v1/services/:service/features',
      'http.response.status_code': 200,
    });
    for (const stage of ['plan', 'store', 'merge', 'on_demand', 'serialise']) {
      const span = named(`millrace.${stage}`);
      expect(span.parentSpanContext?.spanId, stage).toBe(root.spanContext().spanId);
      expect(span.attributes).toEqual({ 'millrace.service': 'decision' });
      // The clock of the machine may be set meanwhile, but hardly by a minute.
      expect(Math.abs(timeOf(span.startTime) - startedMs)).toBeLessThan(60_000);
      expect(timeOf(span.endTime)).toBeGreaterThanOrEqual(timeOf(span.startTime));
    }
  });

  test('a request without a caller that traces begins a trace of its own; so does one with a broken header', async () => {
    for (const more of [{}, { traceparent: '00-nonsense' }]) {
      exporter.reset();
      await ask(decision, more as Record<string, string>);
      await ended(ROUTE);
      expect(named(ROUTE).parentSpanContext).toBeUndefined();
    }
  });

  test('what the caller does not sample is not recorded', async () => {
    await ask(decision, { traceparent: headers.traceparent.replace(/01$/, '00') });
    await ask(decision);
    await ended(ROUTE);
    expect(spans().filter(({ name }) => name === ROUTE)).toHaveLength(1);
  });

  test('a push, the chunk that applies it and a compaction have spans; health and metrics have none', async () => {
    await it.push('payments', [payment({ card: SECRET }), payment()]);
    await ended('POST /v1/sources/:source/events');
    const push = named('millrace.push');
    expect(push.attributes).toEqual({ 'millrace.source': 'payments', 'millrace.events': 2 });
    expect(push.parentSpanContext?.spanId).toBe(
      named('POST /v1/sources/:source/events').spanContext().spanId,
    );
    await ended('millrace.apply');
    expect(named('millrace.apply').attributes).toEqual({
      'millrace.source': 'payments',
      'millrace.partition': 0,
      'millrace.records': 2,
    });
    it.clock.advanceTo(NOON_MS + 3_600_000);
    // By the engine itself, within a second or so.
    await ended('millrace.compact');
    expect(named('millrace.compact').attributes['millrace.states']).toBeGreaterThan(0);
    for (const url of ['/metrics', '/healthz', '/readyz']) await it.get(url);
    expect(spans().filter(({ name }) => name.startsWith('GET'))).toEqual([]);
  });

  test('errors are said by their class; no key, id or value is in a span', async () => {
    await it.push('payments', [
      payment({ id: SECRET, card: SECRET, shop: SECRET, amount: -1 }),
      { [SECRET]: SECRET },
    ]);
    await ask({ ...decision, at: SECRET }, { 'x-request-id': `${SECRET}-12345` });
    await it.post(`/v1/services/${SECRET}/features`, { [SECRET]: 1 });
    await ended(ROUTE);
    const said = spans().map(({ name, attributes, events, status }) => ({
      name,
      attributes,
      events,
      status,
    }));
    expect(said.length).toBeGreaterThan(2);
    expect(JSON.stringify(said)).not.toContain(SECRET);
  });
});

test('without an SDK nothing is recorded, and requests are answered as ever', async () => {
  expect(trace.getActiveSpan()).toBeUndefined();
  expect(await ask(decision, headers)).toBe(200);
});
