/** An aggregation as a feature repo writes it, defaults filled in: `distinctCount('user', { exactUpTo: 1024 })`. */

import { builderName } from '../engine/definitions/builder-name.ts';
import type { CompiledFeature } from '../engine/definitions/compiled.ts';
import type { Feature } from '../engine/definitions/types.ts';
import { formatDuration } from '../engine/windows/duration.ts';

/** Of a longer list the first and the last are shown: a line is for one feature. */
const LISTED_MAX = 8;

export function describeAggregation(
  { operation, params }: Pick<CompiledFeature, 'operation' | 'params'>,
  { column, orderBy, where, by }: Pick<Feature, 'column' | 'orderBy' | 'where' | 'by'>,
): string {
  const args: string[] = column === null ? [] : [quoted(column)];
  const options: string[] = orderBy === undefined ? [] : [`by: ${quoted(orderBy)}`];
  for (const [
    index,
    { name, written = name, option = false, duration = false },
  ] of operation.params.entries()) {
    const value = duration ? quoted(formatDuration(params[index]!)) : String(params[index]);
    if (option) options.push(`${written}: ${value}`);
    else args.push(value);
  }
  if (operation.list !== undefined) args.push(listOf(params.slice(operation.params.length)));
  if (options.length > 0) args.push(`{ ${options.join(', ')} }`);
  return (
    `${builderName(operation.name)}(${args.join(', ')})` +
    (where === undefined ? '' : `.where(${quoted(where)})`) +
    (by === undefined ? '' : `.by(${quoted(by.column)}, { max: ${by.max} })`)
  );
}

const quoted = (text: string): string => `'${text}'`;

function listOf(values: readonly number[]): string {
  if (values.length <= LISTED_MAX) return `[${values.join(', ')}]`;
  return `[${values.slice(0, LISTED_MAX - 2).join(', ')}, … ${values.at(-1)}: ${values.length} of them]`;
}
