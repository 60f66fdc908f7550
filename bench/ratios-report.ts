/** The figures that have a ratio to reach, of both benchmarks over real servers, in one table. */
import { textTable } from '../cli/text-table.ts';
import { type AggregationsReport, byHandTarget } from './aggregations/aggregations-report.ts';
import { formatRatio } from './report.ts';
import type { RolesReport } from './roles/roles-report.ts';

export interface RatiosReport {
  readonly roles: RolesReport;
  readonly aggregations: AggregationsReport;
}

/** The roles' rates to what does the least, and reads of one key to a sum over a sorted set. */
export function formatRatios({ roles, aggregations }: RatiosReport): string {
  return textTable([
    ['ratio', 'to', 'median (rounds)', 'target'],
    ...roles.rows.flatMap(({ figure, ratio, target }) =>
      ratio === null || target === null
        ? []
        : [['millrace', figure, formatRatio(ratio), `${target.text}: ${target.met ? 'met' : 'MISSED'}`]],
    ),
    ...aggregations.byHand.map(({ features, events, ratio }) => [
      `read of ${features}`,
      `sorted set of ${events.toLocaleString('en-US')} events`,
      formatRatio(ratio),
      byHandTarget(events, ratio),
    ]),
  ]);
}
