/** The metrics of several workers as one process would have them. */
import { expect, test } from 'vitest';
import { Metrics, textOfWorkers, type WorkerMetrics } from './metrics.ts';
import { metricSamples } from './testing/metric-samples.ts';

test('counters, histograms and what is in flight are added up; of other gauges the worst counts', async () => {
  const workers = [1, 2, 3].map((n) => {
    const metrics = new Metrics();
    const request = { route: '/healthz', method: 'GET', status: 200 };
    metrics.tally('millrace_http_requests_total', request).add(n);
    metrics.count('millrace_push_events_total', { source: 's', outcome: 'accepted' }, 10 * n);
    metrics.observe('millrace_http_request_duration_seconds', { route: '/healthz' }, n);
    metrics.set('millrace_requests_in_flight', { class: 'serving' }, n);
    metrics.set('millrace_requests_in_flight_limit', { class: 'serving' }, 256);
    metrics.set('millrace_push_in_flight_bytes', {}, 100 * n);
    metrics.set('millrace_ready', {}, n === 2 ? 0 : 1);
    metrics.set('millrace_clock_seconds', {}, 1_000 + n);
    metrics.set('millrace_store_breaker_open', { node: 'redis:6379' }, n === 1 ? 1 : 0);
    return metrics;
  });
  const sent = await Promise.all(workers.map((metrics) => metrics.own()));
  // As it comes from another process.
  const found = metricSamples(await textOfWorkers(JSON.parse(JSON.stringify(sent)) as WorkerMetrics[]));
  expect(Object.fromEntries(found)).toMatchObject({
    'millrace_http_requests_total{route="/healthz",method="GET",status="200"}': 6,
    'millrace_push_events_total{source="s",outcome="accepted"}': 60,
    'millrace_http_request_duration_seconds_bucket{le="1",route="/healthz"}': 1,
    'millrace_http_request_duration_seconds_bucket{le="2.5",route="/healthz"}': 2,
    'millrace_http_request_duration_seconds_count{route="/healthz"}': 3,
    'millrace_http_request_duration_seconds_sum{route="/healthz"}': 6,
    'millrace_requests_in_flight{class="serving"}': 6,
    'millrace_requests_in_flight_limit{class="serving"}': 768,
    millrace_push_in_flight_bytes: 600,
    millrace_ready: 0,
    millrace_clock_seconds: 1_001,
    'millrace_store_breaker_open{node="redis:6379"}': 1,
  });
});
