/** A repo whose view `careful` cannot use amounts of 13, until it is mended. Its state is the same before and after. */
import {
  count,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';

export function mendableDefinitions(broken: boolean): readonly unknown[] {
  const swipes = streamSource({
    name: 'swipes',
    columns: { at: timestamp(), card: string(), amount: integer() },
    eventTime: 'at',
  });
  const card = entity('card');
  const careful = featureView({
    name: 'careful',
    source: swipes,
    entity: card,
    filter: ({ amount }) => {
      if (broken && amount === 13) throw new Error('an unlucky number');
      return true;
    },
    features: { careful_ever: count().lifetime(), careful_sum_1d: sum('amount').over('1d') },
  });
  const plain = featureView({
    name: 'plain',
    source: swipes,
    entity: card,
    features: { plain_1d: count().over('1d') },
  });
  return [featureService({ name: 'swipes_of_card', features: [careful, plain] })];
}
