/** The public API of millrace: what a feature repo imports. */
export type { HistoryLog, LoggedHistory, LogHistoryProgress } from './archive/log-history.ts';
export { type KafkaHistoryOptions, kafkaHistory } from './distributed/kafka-history.ts';
export { type EmbeddedHistoryOptions, embeddedHistory } from './embedded/embedded-history.ts';
export type {
  ColumnType,
  ColumnValue,
  FeatureValue,
} from './engine/aggregators/partial-aggregate.ts';
export {
  type Aggregation,
  all,
  any,
  approxDistinctCount,
  bottomN,
  changes,
  collectSet,
  count,
  distinctCount,
  entropy,
  expDecayCount,
  expDecayMean,
  expDecaySum,
  type FeatureOf,
  type FeatureOptions,
  first,
  firstDistinctN,
  firstN,
  histogram,
  kurtosis,
  last,
  lastDistinctN,
  lastN,
  max,
  maxByN,
  maxGap,
  mean,
  median,
  min,
  minByN,
  minGap,
  type OrderedByOptions,
  percentile,
  percentiles,
  rate,
  skew,
  stddevPop,
  stddevSamp,
  sum,
  timeSinceFirst,
  timeSinceLast,
  topKFrequent,
  topN,
  varPop,
  varSamp,
} from './engine/definitions/aggregation.ts';
export { type BatchSourceOptions, batchSource } from './engine/definitions/batch-source.ts';
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
export {
  DefinitionError,
  type DefinitionProblem,
} from './engine/definitions/definition-error.ts';
export {
  type EntityOf,
  entity,
} from './engine/definitions/entity.ts';
export {
  type FeatureServiceOptions,
  featureService,
} from './engine/definitions/feature-service.ts';
export {
  type FeatureViewOf,
  type FeatureViewOptions,
  featureView,
} from './engine/definitions/feature-view.ts';
export {
  type OnDemandFeatureOptions,
  onDemandFeature,
} from './engine/definitions/on-demand-feature.ts';
export {
  type StreamSourceOptions,
  streamSource,
} from './engine/definitions/stream-source.ts';
export type {
  BatchTable,
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
export {
  type Duration,
  DurationError,
} from './engine/windows/duration.ts';
export {
  type DecisionTrainingFileOptions,
  type DecisionTrainingOptions,
  type DecisionTrainingSummary,
  decisionTrainingSet,
  decisionTrainingSetFile,
} from './offline/decisions/decision-training-set.ts';
export type { LabelOptions, LabelSummary } from './offline/decisions/labels.ts';
export {
  type FeatureSkew,
  featureSkew,
  type SkewOptions,
  type SkewReport,
  type WorstDifference,
} from './offline/decisions/skew.ts';
export { InputError } from './offline/input-error.ts';
export {
  type TrainingFileOptions,
  type TrainingHistory,
  type TrainingInput,
  type TrainingSetOptions,
  trainingSet,
  trainingSetFile,
} from './offline/make-training-set.ts';
export type { TrainingProgress, TrainingSummary } from './offline/training-set.ts';
