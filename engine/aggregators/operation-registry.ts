/** Every aggregation a feature can name, by that name. */

import { all, any } from './operations/any-all.ts';
import { approxDistinctCount } from './operations/approx-distinct-count.ts';
import { changes } from './operations/changes.ts';
import { collectSet } from './operations/collect-set.ts';
import { count } from './operations/count.ts';
import { distinctCount } from './operations/distinct-count.ts';
import { firstDistinctN, lastDistinctN } from './operations/distinct-n.ts';
import { entropy } from './operations/entropy.ts';
import { expDecayCount, expDecayMean, expDecaySum } from './operations/exp-decay.ts';
import { max, min } from './operations/extremum.ts';
import { first, firstN, last, lastN } from './operations/first-last.ts';
import { maxGap, minGap } from './operations/gap.ts';
import { histogram } from './operations/histogram.ts';
import { maxByN, minByN } from './operations/max-min-by.ts';
import { mean } from './operations/mean.ts';
import { kurtosis, skew } from './operations/moments.ts';
import { median, percentile, percentiles } from './operations/quantiles.ts';
import { rate } from './operations/rate.ts';
import { sum } from './operations/sum.ts';
import { timeSinceFirst, timeSinceLast } from './operations/time-since.ts';
import { bottomN, topN } from './operations/top-bottom.ts';
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
  topN,
  bottomN,
  maxByN,
  minByN,
  maxGap,
  minGap,
  changes,
  skew,
  kurtosis,
  any,
  all,
  histogram,
  expDecaySum,
  expDecayCount,
  expDecayMean,
  rate,
  timeSinceFirst,
  timeSinceLast,
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
