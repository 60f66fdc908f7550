/** Every aggregation a feature can name, by that name. */
import { changes } from './operations/changes.ts';
import { count } from './operations/count.ts';
import { distinctCount } from './operations/distinct-count.ts';
import { max, min } from './operations/extremum.ts';
import { first, firstN, last, lastN } from './operations/first-last.ts';
import { maxGap, minGap } from './operations/gap.ts';
import { maxByN, minByN } from './operations/max-min-by.ts';
import { mean } from './operations/mean.ts';
import { sum } from './operations/sum.ts';
import { bottomN, topN } from './operations/top-bottom.ts';
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
];

export const operationRegistry: ReadonlyMap<string, Operation> = new Map(
  operations.map((operation) => [operation.name, operation]),
);
