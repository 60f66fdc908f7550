/** Definitions small in time, so that a short run meets every edge: windows of seconds, a horizon of 20 s. */

import {
  changes,
  count,
  distinctCount,
  first,
  last,
  lastN,
  max,
  maxGap,
  mean,
  minGap,
  sum,
} from '../engine/definitions/aggregation.ts';
import { integer, string, timestamp } from '../engine/definitions/column.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { entity } from '../engine/definitions/entity.ts';
import { featureService } from '../engine/definitions/feature-service.ts';
import { featureView } from '../engine/definitions/feature-view.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';

/** The filter of `by_kind` throws on it: a dead letter for that view, an event like any other for the others. */
export const POISON_AMOUNT = 9;

function repo(eventId: 'id' | null, version: Version, mended: boolean): CompiledRepo {
  const swipes = streamSource({
    name: 'swipes',
    columns: {
      id: integer(),
      at: timestamp(),
      card: string({ nullable: true }),
      amount: integer(),
      kind: string(),
    },
    eventTime: 'at',
    ...(eventId === null ? {} : { eventId }),
    dedupeHorizon: '20s',
    maxFuture: '5s',
    lateness: '3s',
  });

  const card = entity('card');
  const kind = entity('kind');

  const byCard = featureView({
    name: 'by_card',
    source: swipes,
    entity: card,
    features: {
      count_1s: count().over('1s'),
      sum_10s: sum('amount').over('10s'),
      mean_40s: mean('amount').over('40s'),
      last_40s: last('kind').over('40s'),
      count_offset: count().over('10s', { offset: '5s' }),
      distinct_40s: distinctCount('kind').over('40s'),
      last_3: lastN('amount', 3).over('40s'),
    },
    asOfRetention: '30s',
  });

  /** What lies between events, conditions, groups and last events: late rows go straight into the tree. */
  const inOrder = featureView({
    name: 'in_order',
    source: swipes,
    entity: card,
    project: { is_x: { type: 'boolean', from: (event) => event.kind === 'x' } },
    features: {
      max_gap_40s: maxGap().over('40s'),
      min_gap_10s: minGap().over('10s'),
      changes_40s: changes('kind').over('40s'),
      changes_of_x: changes('amount').where('is_x').over('20s'),
      gap_by_kind: maxGap().by('kind', { max: 2 }).over('40s'),
      sum_daily: sum('amount').series({ start: '30s', size: '10s' }),
      last_two: lastN('amount', 2).lastEvents(2),
      last_x: sum('amount').where('is_x').lastEvents(1, { within: '40s' }),
    },
    asOfRetention: '20s',
  });

  const byKind = featureView({
    name: 'by_kind',
    source: swipes,
    entity: kind,
    filter: (event) => {
      if (!mended && event.amount === POISON_AMOUNT) throw new Error('poison');
      return event.amount >= 0;
    },
    features: {
      count_ever: count().lifetime(),
      sum_ever: sum('amount').lifetime(),
      first_ever: first('amount').lifetime(),
      max_20s: max('amount').over('20s'),
    },
    asOfRetention: '20s',
  });

  const coarse = featureView({
    name: 'coarse',
    source: swipes,
    entity: card,
    features: {
      count_20s: count().over('20s'),
      sum_60s: sum('amount').over('60s'),
    },
    resolution: '2s',
    asOfRetention: '5s',
  });

  const features = version === 'former' ? [byCard, byKind] : [byCard, byKind, coarse, inOrder];
  return compileRepo([featureService({ name: 'everything', features })]);
}

/** Of the version before, some views were not yet defined; the others were the same. */
export type Version = 'present' | 'former';

const repos = new Map<string, CompiledRepo>();

/**
 * @param mended whether the filter does not throw any more; the views are the same
 * @param withIds false: the source declares no event id, so that nothing but floors and tails tells a record that
 * comes again
 */
export function simulationRepo(withIds: boolean, version: Version = 'present', mended = false): CompiledRepo {
  const name = `${withIds} ${version} ${mended}`;
  const compiled = repos.get(name) ?? repo(withIds ? 'id' : null, version, mended);
  repos.set(name, compiled);
  return compiled;
}
