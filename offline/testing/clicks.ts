/** Clicks by key, without ids: for histories of many events. */
import { compileRepo } from '../../engine/definitions/compile.ts';
import {
  count,
  entity,
  featureService,
  featureView,
  integer,
  lastN,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';

export const clicks = streamSource({
  name: 'clicks',
  columns: { key: string(), at: timestamp(), v: integer() },
  eventTime: 'at',
});

export const key = entity('key');

const byKey = featureView({
  name: 'clicks_by_key',
  source: clicks,
  entity: key,
  features: {
    n: count().over('30d'),
    n_1s: count().over('1s'),
    total_1m: sum('v').over('1m'),
    newest: lastN('v', 3).over('30d'),
  },
});

export const repo = compileRepo([byKey, featureService({ name: 'all', features: [byKey] })]);
