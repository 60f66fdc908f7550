import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { Histogram } from './histogram.ts';
import { metricSamples } from './testing/metric-samples.ts';

test('counts values into buckets up to and with their bounds, as Prometheus reads them', async () => {
  const registry = new Registry();
  const histogram = new Histogram({ name: 'h', help: 'Some "help".', labelNames: ['a'], bounds: [1, 2.5] });
  histogram.registerIn(registry);
  const series = histogram.series({ a: 'x"y' });
  for (const value of [0, 1, 1.5, 2.5, 7]) series.observe(value);
  histogram.series({ a: 'z' }).observe(2);
  const text = await registry.metrics();
  expect(text).toContain('# TYPE h histogram');
  const label = 'a="x\\"y"';
  expect([...metricSamples(text)]).toEqual([
    [`h_bucket{le="1",${label}}`, 2],
    [`h_bucket{le="2.5",${label}}`, 4],
    [`h_bucket{le="+Inf",${label}}`, 5],
    [`h_sum{${label}}`, 12],
    [`h_count{${label}}`, 5],
    ['h_bucket{le="1",a="z"}', 0],
    ['h_bucket{le="2.5",a="z"}', 1],
    ['h_bucket{le="+Inf",a="z"}', 1],
    ['h_sum{a="z"}', 2],
    ['h_count{a="z"}', 1],
  ]);
});

test('keeps one series for the same labels, in whatever order, and others for others', () => {
  const histogram = new Histogram({ name: 'h', help: 'h', labelNames: ['a', 'b'], bounds: [1] });
  expect(histogram.series({ a: '1', b: '2' })).toBe(histogram.series({ b: '2', a: '1' }));
  expect(histogram.series({ a: '1', b: '2' })).not.toBe(histogram.series({ a: '12', b: '' }));
});
