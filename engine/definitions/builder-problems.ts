/**
 * What a builder finds wrong with its arguments. It throws nothing: the problems stay in the definition that it makes,
 * so that `compileRepo` reports them with the names of the view and the feature, together with everything else.
 */
import type { Report } from './definition-error.ts';
import { isObject, type Loose } from './loose.ts';
import { nearestName } from './nearest-name.ts';

/** Why an option that is known elsewhere is none here, and what to write instead. */
export type Hints = Readonly<Record<string, string>>;

/** The options as they can be read, whatever was given. */
export function readableOptions<T extends object>(options: T): T {
  return isObject(options) ? options : ({} as T);
}

/**
 * Options a builder does not know, so that a typo in plain JavaScript is not dropped silently.
 * @param call what was called, to begin messages with; '' where the place of the definition says it
 */
export function unknownOptions(
  call: string,
  options: unknown,
  known: readonly string[],
  hints: Hints = {},
): string[] {
  const prefix = call === '' ? '' : `${call}: `;
  if (!isObject(options)) return [`${prefix}options must be an object`];
  return Object.keys(options)
    .filter((name) => !known.includes(name))
    .map((name) => `${prefix}unknown option '${name.slice(0, 80)}'${adviceFor(name, known, hints)}`);
}

function adviceFor(name: string, known: readonly string[], hints: Hints): string {
  if (Object.hasOwn(hints, name)) return `: ${hints[name]}`;
  const near = nearestName(name, known);
  return near === null ? `; known: ${known.join(', ')}` : `; did you mean '${near}'?`;
}

/** Arguments behind those that a builder takes. */
export function surplusArguments(call: string, taken: string, surplus: readonly unknown[]): string[] {
  if (surplus.length === 0) return [];
  return [
    `${call} takes ${taken} and nothing further: options such as default go with the window, .over('7d', { default: 0 })`,
  ];
}

/** The field of a definition; left out where nothing is wrong. */
export function withProblems(problems: readonly string[]): { readonly problems?: readonly string[] } {
  return problems.length === 0 ? {} : { problems: Object.freeze([...problems]) };
}

/** Reports what the builder of a definition found. */
export function reportBuilderProblems({ problems }: Loose, report: Report): void {
  if (!Array.isArray(problems)) return;
  for (const problem of problems) report(String(problem));
}
