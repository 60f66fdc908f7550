/** docs/aggregations.md, made from the registry: what every aggregation takes, answers, promises and costs. */
import { operationRegistry } from '../engine/aggregators/operation-registry.ts';
import type { ColumnType, FeatureValue, Operation } from '../engine/aggregators/partial-aggregate.ts';
import { GROUPS_MAX, LAST_EVENTS_MAX } from '../engine/definitions/check-view.ts';
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

function paramsOf({ params, list, orderedBy }: Operation): string {
  const texts = params.map(({ name, min, max, default: fallback }) => {
    const range = `${min.toLocaleString('en')} to ${max.toLocaleString('en')}`;
    return `\`${name}\` ${range}${fallback === null ? '' : `, default ${fallback.toLocaleString('en')}`}`;
  });
  if (list !== undefined) {
    const order = list.ascending ? ', ascending' : '';
    texts.push(`1 to ${list.lengthMax} \`${list.name}\`${order}`);
  }
  if (orderedBy !== undefined) texts.push(`\`by\`: a column of ${orderedBy.join(', ')}`);
  return texts.length === 0 ? 'none' : texts.join('; ');
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
    'counts; it answers as below, or with the `default` of the feature.',
    '',
    '## Over every window',
    '',
    '| aggregation | sliding, offset | series | calendar | lifetime | last events | with `resolution` |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...operations.map((operation) => `| \`${operation.name}\` | ${windowsOf(operation).join(' | ')} |`),
    '',
    'A dash is refused when the definition is loaded: `rate` needs a window with a length, and what lies between two events',
    'can be told only while every event is kept.',
    '',
    '## With every aggregation',
    '',
    '- `.where(column)`: only events for which a boolean column, of the source or projected, is true.',
    `- \`.by(column, { max })\`: a map from each value of the column to the answer over the events that have it, by that value`,
    `  as text, ascending; \`max\` is 1 to ${GROUPS_MAX.toLocaleString('en')}, 64 if left out. Of more values those with the least 64-bit hashes are kept,`,
    '  each complete, and the metadata says `truncated`. A group that only has nulls answers what is empty. Not of doubles.',
    `- \`.series({ start, end, size, step })\`: an array, oldest window first, of at most ${SERIES_MAX} windows.`,
    '- `.since(unit, { timeZone, weekStart })`: since the hour, day, week, month or year of T began in an IANA time zone.',
    `- \`.lastEvents(n, { within })\`: over the newest n events, n ≤ ${LAST_EVENTS_MAX}. A state remembers twice as many rows, at least n + 32;`,
    '  asked at a time with more events behind it, the answer is `coarse` and its bounds say from where on it counts.',
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
