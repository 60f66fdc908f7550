/** The public API of millrace: what a feature repo imports. */
export type { ColumnType, ColumnValue, FeatureValue } from './engine/aggregators/partial-aggregate.ts';
export {
  type Aggregation,
  approxDistinctCount,
  collectSet,
  count,
  distinctCount,
  entropy,
  type FeatureOf,
  type FeatureOptions,
  first,
  firstDistinctN,
  firstN,
  last,
  lastDistinctN,
  lastN,
  max,
  mean,
  median,
  min,
  percentile,
  percentiles,
  stddevPop,
  stddevSamp,
  sum,
  topKFrequent,
  varPop,
  varSamp,
} from './engine/definitions/aggregation.ts';
export {
  boolean,
  double,
  integer,
  long,
  type RowOf,
  string,
  timestamp,
} from './engine/definitions/column.ts';
export { compileRepo } from './engine/definitions/compile.ts';
export type { CompiledRepo } from './engine/definitions/compiled.ts';
export { DefinitionError, type DefinitionProblem } from './engine/definitions/definition-error.ts';
export { type EntityOf, entity } from './engine/definitions/entity.ts';
export { type FeatureServiceOptions, featureService } from './engine/definitions/feature-service.ts';
export {
  type FeatureViewOf,
  type FeatureViewOptions,
  featureView,
} from './engine/definitions/feature-view.ts';
export { type OnDemandFeatureOptions, onDemandFeature } from './engine/definitions/on-demand-feature.ts';
export { type StreamSourceOptions, streamSource } from './engine/definitions/stream-source.ts';
export type {
  Column,
  Columns,
  Entity,
  EventRow,
  Feature,
  FeatureReference,
  FeatureService,
  FeatureView,
  OnDemandFeature,
  StreamSource,
  Window,
} from './engine/definitions/types.ts';
export { type Duration, DurationError } from './engine/windows/duration.ts';
