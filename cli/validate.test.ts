import { expect, test } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import {
  distinctCount,
  entity,
  featureView,
  integer,
  last,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { describeRepo } from './validate.ts';

test('stored columns are named once, with what of them is kept', () => {
  const view = featureView({
    name: 'v',
    source: streamSource({
      name: 'payments',
      columns: { at: timestamp(), card: integer(), shop: string(), city: string(), country: string() },
      eventTime: 'at',
    }),
    entity: entity('card'),
    features: {
      shop: last('shop').over('1d'),
      shops: distinctCount('shop').over('1d'),
      cities: distinctCount('city').over('1d'),
      country: last('country').over('1d'),
    },
  });
  const text = describeRepo(compileRepo([view]), [1]);
  expect(text).toContain(
    '  stored columns: city string (its hash only), country string, shop string and its hash\n',
  );
  expect(text).toMatch(/^ {2}shops +distinctCount\('shop', \{ exactUpTo: 1024 \}\) +1d$/m);
});
