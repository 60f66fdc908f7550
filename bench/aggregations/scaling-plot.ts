/** The scaling figures of one span of days as a plot. */
import type { Variant } from './card-events.ts';
import { linePlot, type Series } from './line-plot.ts';
import type { ScalingRow, StoreName } from './scaling.ts';

const COLOUR: Readonly<Record<string, string>> = {
  'amount memory': '#1f77b4',
  'amount Redis': '#17a2b8',
  'sketches memory': '#d2691e',
  'sketches Redis': '#8b1a62',
};
const NAME: Readonly<Record<string, string>> = { amount: 'plain', sketches: 'with sketches' };
export const READ_BYTES_MAX = 32 * 1024;

export function scalingPlot(rows: readonly ScalingRow[], days: number, caption: readonly string[]): string {
  const of = (variant: Variant, store: StoreName): ScalingRow[] =>
    rows.filter((row) => row.days === days && row.variant === variant && row.store === store);
  const sides = (['amount', 'sketches'] as const).flatMap((variant) =>
    (['memory', 'Redis'] as const).map((store) => ({ variant, store, found: of(variant, store) })),
  );
  const latency = (percentile: 'p50Us' | 'p99Us'): Series[] =>
    sides
      .filter(({ found }) => found.length > 0)
      .map(({ variant, store, found }) => ({
        name: `${NAME[variant]}, ${store}, ${percentile === 'p50Us' ? 'p50' : 'p99'}`,
        colour: COLOUR[`${variant} ${store}`]!,
        dashed: percentile === 'p50Us',
        points: found.map((row) => [row.events, row[percentile]] as const),
      }));
  const bytes = (['amount', 'sketches'] as const).flatMap((variant): Series[] => {
    const found = of(variant, 'memory');
    const one = (name: string, dashed: boolean, y: (row: ScalingRow) => number): Series => ({
      ...{ name: `${NAME[variant]}, bytes, ${name}`, dashed, colour: COLOUR[`${variant} memory`]! },
      points: found.map((row) => [row.events, y(row)] as const),
    });
    return [one('most', false, (row) => row.bytesMax), one('median', true, (row) => row.bytes)];
  });
  return linePlot({
    title: `Reading all windows from 1 minute to 90 days; events of the key over ${days} days`,
    panels: [
      {
        title: 'latency of a read',
        xLabel: 'events of the key',
        yLabel: 'µs',
        series: [...latency('p99Us'), ...latency('p50Us')],
      },
      {
        title: 'bytes of a read',
        xLabel: 'events of the key',
        yLabel: 'bytes',
        series: bytes.filter(({ points }) => points.length > 0),
        limit: { y: READ_BYTES_MAX, label: '32 kB' },
      },
    ],
    caption,
  });
}
