/** docs/aggregations.md, made from the registry: what every aggregation takes, answers, promises and costs. */

import { accuracyAt } from '../engine/aggregators/logarithmic-buckets.ts';
import { operationRegistry } from '../engine/aggregators/operation-registry.ts';
import type {
  ColumnType,
  FeatureValue,
  Operation,
  OperationParam,
} from '../engine/aggregators/partial-aggregate.ts';
import { BUCKETS_MAX } from '../engine/aggregators/partials/quantiles.ts';
import { GROUPS_MAX, LAST_EVENTS_MAX } from '../engine/definitions/check-view.ts';
import { DOUBLE_MAX } from '../engine/definitions/column-value.ts';
import { formatDuration } from '../engine/windows/duration.ts';
import { SERIES_MAX } from '../engine/windows/window-reach.ts';

const ALL_TYPES = 6;

const inCell = (text: string): string => text.replaceAll('|', '\\|');

function typesOf({ accepts, columnOptional }: Operation): string {
  const types = accepts === null ? '' : accepts.length === ALL_TYPES ? 'any column' : accepts.join(', ');
  if (accepts === null) return 'events';
  return columnOptional ? `events, or ${types}` : types;
}

function resultOf(operation: Operation): string {
  const types = new Set<ColumnType | null>(operation.accepts ?? [null]);
  if (operation.columnOptional) types.add(null);
  const results = new Set([...types].map((type) => operation.resultType(type)));
  if (results.size === 1) return [...results][0]!;
  // One result for each type of column.
  return [...results].every((result) => result.endsWith('[]'))
    ? 'array of the column’s type'
    : 'the column’s type';
}

/** As a feature repo writes it: `{ max }` for what goes into the options. */
function paramOf({
  name,
  written = name,
  option,
  duration,
  min,
  max,
  default: fallback,
}: OperationParam): string {
  const called = option ? `\`{ ${written} }\`` : `\`${written}\``;
  if (duration)
    return `${called}: a duration such as \`'7d'\`, ${formatDuration(min)} to ${formatDuration(max)}`;
  const range = `${min.toLocaleString('en')} to ${max.toLocaleString('en')}`;
  return `${called} ${range}${fallback === null ? '' : `, default ${fallback.toLocaleString('en')}`}`;
}

/** In the order of the builder's arguments, options last. */
function paramsOf({ params, list, orderedBy }: Operation): string {
  const texts = params.filter(({ option }) => !option).map(paramOf);
  if (list !== undefined) {
    const order = list.ascending ? ', ascending' : '';
    const range = list.max < DOUBLE_MAX ? ` from ${list.min} to ${list.max}` : '';
    texts.push(`\`${list.name}\`: 1 to ${list.lengthMax} numbers${range}${order}`);
  }
  if (orderedBy !== undefined) texts.push(`\`{ by }\`: a column of ${orderedBy.join(', ')}`);
  texts.push(...params.filter(({ option }) => option).map(paramOf));
  return texts.length === 0 ? 'none' : texts.join('; ');
}

/** How many decades values of one sign may span before the error doubles: all but a few of the buckets, of a ratio of γ each. */
const decadesOf = (accuracy: number): number =>
  (BUCKETS_MAX - 12) * Math.log10((1 + accuracy) / (1 - accuracy));

/** The error in percent that values of one sign over so many decades end with. */
function errorOver(decades: number, accuracy: number): string {
  const level = Math.max(0, Math.ceil(Math.log2(decades / decadesOf(accuracy))));
  return `${(100 * accuracyAt(accuracy, level)).toPrecision(2)} %`;
}

const emptyOf = (empty: FeatureValue): string => String(empty);

function windowsOf({ sequence = false, needsLength = false }: Operation): string[] {
  const lifetime = sequence || needsLength ? '–' : '✓';
  return ['✓', '✓', '✓', lifetime, needsLength ? '–' : '✓', sequence ? '–' : '✓'];
}

export function aggregationsPage(): string {
  const operations = [...operationRegistry.values()];
  return [
    '# Aggregations',
    '',
    '<!-- Made by `npm run docs` from the registry; a test compares. -->',
    '',
    'Every aggregation is a function of the *set* of events in its window: the order of arrival, batches, compaction and',
    'restarts change nothing. Null values of the column do not count. What is *empty* is a window without an event that',
    'counts; it answers as below, or with the `default` of the feature. T is the as-of time.',
    '',
    '*Event order* is by event time; events of the same millisecond are in the order of their ids: integer and long ids by',
    'value, text ids by a 64-bit hash of the text (XXH64), which is always the same but has nothing to do with the order of',
    'the alphabet. In a source without ids they are in the order of the log. `first`, `last_n`, `changes`, ties of',
    '`max_by_n` and whatever else asks which of two events came first go by it.',
    '',
    'A column may be null where it is declared so, `double({ nullable: true })`, or `{ type, nullable: true, from }` where it',
    'is projected; without it, an event that has null or nothing there is refused. A null is skipped: the event has no value',
    'for that column, but `count()` counts it, and it is one of the last n events. A double is a number within ±1e140;',
    'an event with one beyond is refused, so that sums of any window and the squares in variances stay finite.',
    '',
    '## Over every window',
    '',
    '| aggregation | sliding, offset | series | calendar | lifetime | last events | with `resolution` |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...operations.map((operation) => `| \`${operation.name}\` | ${windowsOf(operation).join(' | ')} |`),
    '',
    'A dash is refused when the definition is loaded: `rate` needs a window with a length, and what lies between two events',
    'can be told only while every event is kept. The length that `rate` divides by is that of the window, also of one with an',
    'offset and of each of a series; of a calendar window it is T − start + 1 ms, as both the first millisecond of the',
    'period and T count. Where an old edge is `coarse` it is the length of what was counted.',
    '',
    '## With every aggregation',
    '',
    '- `.where(column)`: only events for which a boolean column, of the source or projected, is true; false and null leave',
    '  the event out.',
    '- `.by(column, { max })`: a map from each value of the column, as text, to the answer over the events that have it. Events',
    `  whose column is null are in none of its groups. \`max\` is 1 to ${GROUPS_MAX.toLocaleString('en')}, 64 if left out. Of more values those with the least`,
    '  hashes are kept, each complete, and the metadata says `truncated`. A group that only has nulls answers what is',
    '  empty. Not of doubles. On-demand features get a `Map`, ascending by the text. In JSON it is an object, whose',
    '  keys are in no order to rely on: as JavaScript writes it, whole numbers come first, `{"9":…,"10":…,"-1":…}`.',
    '- `.over(size, { offset })`: (T − offset − size, T − offset].',
    '- `.lifetime({ offset })`: everything up to T − offset.',
    '- `.series({ start, end, size, step })`: an array, oldest window first. Each window is `size` long; the newest ends at',
    '  T − `end` (default 0), each further one a `step` (default: the size) before it, for as long as it begins no earlier than',
    `  T − \`start\`; at most ${SERIES_MAX} of them. So they are aligned to their new end: where the step does not divide the span, what`,
    "  is left over lies at the old end and does not count. `{ start: '7d', size: '2d' }` is three windows, the oldest from",
    '  T − 6 d. With a step below the size they overlap; with one above, there are gaps.',
    '- `.since(unit, { timeZone, weekStart })`: since the hour, day, week, month or year of T began in an IANA time zone.',
    `- \`.lastEvents(n, { within })\`: over the newest n events, n ≤ ${LAST_EVENTS_MAX}, with \`within\` only of those younger than that. With`,
    '  `where` they are the newest n that meet the condition; `by` divides these n. A state remembers twice as many rows, at',
    '  least n + 32; asked at a time with more events behind it, the answer is `coarse` and its bounds say from where on it',
    '  counts.',
    '',
    '`offset` is for `over` and `lifetime`. A series has `end` instead; a calendar window ends at T, from which follows where',
    'it began, and last events are the newest ones: ask for these with an earlier `at`.',
    '',
    '## Percentiles over many decades',
    '',
    `\`percentile\`, \`percentiles\` and \`median\` beyond 128 values count them in at most ${BUCKETS_MAX} buckets. A finer accuracy has narrower`,
    'buckets, so it covers fewer decades before they are used up; then neighbours are joined, and the error doubles, as often',
    'as it takes. The metadata says `truncated` then, but not how far it went. At an accuracy of a, values of one sign may',
    'span 500 · log₁₀((1 + a) / (1 − a)) decades, about 434 · a, before the error doubles; of both signs, half of that each;',
    'every doubling of the error doubles the decades.',
    '',
    '| accuracy | decades before the error doubles | error at most, over 3 decades | over 6 | over 17 |',
    '| --- | --- | --- | --- | --- |',
    ...[0.001, 0.002, 0.005, 0.01, 0.02, 0.05].map(
      (accuracy) =>
        `| ${accuracy} | ${decadesOf(accuracy).toPrecision(2)} | ${[3, 6, 17].map((decades) => errorOver(decades, accuracy)).join(' | ')} |`,
    ),
    '',
    'So an accuracy that is too fine for the data can end up worse than a coarser one that need not double: ask for no',
    'finer one than decades / 434.',
    '',
    '## One by one',
    '',
    ...operations.flatMap(section),
  ].join('\n');
}

function section(operation: Operation): string[] {
  return [
    `### ${operation.name}`,
    '',
    operation.description,
    '',
    '```ts',
    operation.example,
    '```',
    '',
    '| | |',
    '| --- | --- |',
    `| of | ${inCell(typesOf(operation))} |`,
    `| parameters | ${inCell(paramsOf(operation))} |`,
    `| answers | ${inCell(resultOf(operation))} |`,
    `| empty | ${emptyOf(operation.empty)} |`,
    `| accuracy | ${inCell(operation.accuracy)} |`,
    `| bytes in a tile | ${inCell(operation.bytes)} |`,
    '',
  ];
}
