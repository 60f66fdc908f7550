/** Every aggregation a feature can name, by that name. */
import { approxDistinctCount } from './operations/approx-distinct-count.ts';
import { collectSet } from './operations/collect-set.ts';
import { count } from './operations/count.ts';
import { distinctCount } from './operations/distinct-count.ts';
import { firstDistinctN, lastDistinctN } from './operations/distinct-n.ts';
import { entropy } from './operations/entropy.ts';
import { max, min } from './operations/extremum.ts';
import { first, firstN, last, lastN } from './operations/first-last.ts';
import { mean } from './operations/mean.ts';
import { median, percentile, percentiles } from './operations/quantiles.ts';
import { sum } from './operations/sum.ts';
import { topKFrequent } from './operations/top-k-frequent.ts';
import { stddevPop, stddevSamp, varPop, varSamp } from './operations/variance.ts';
import type { Operation } from './partial-aggregate.ts';

const operations: readonly Operation[] = [
  count,
  sum,
  mean,
  min,
  max,
  varPop,
  varSamp,
  stddevPop,
  stddevSamp,
  first,
  last,
  firstN,
  lastN,
  distinctCount,
  approxDistinctCount,
  percentile,
  percentiles,
  median,
  topKFrequent,
  entropy,
  collectSet,
  firstDistinctN,
  lastDistinctN,
];

export const operationRegistry: ReadonlyMap<string, Operation> = new Map(
  operations.map((operation) => [operation.name, operation]),
);
