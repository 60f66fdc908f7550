/** What a PromQL expression asks for, as far as it can be held against a table of metrics. */

export interface SelectedSeries {
  readonly metric: string;
  /** Label, and the text it is compared with. */
  readonly labels: readonly (readonly [name: string, value: string])[];
}

const STRINGS = /"(?:[^"\\]|\\.)*"/g;
const LABEL = /([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g;

/** The metrics that are selected; ours and those of a Node process are told from functions by their names. */
export function selectedSeries(expression: string): SelectedSeries[] {
  const bare = expression.replace(STRINGS, (text) => text.replaceAll(/[^"]/g, '_'));
  return [...bare.matchAll(/\b((?:millrace|nodejs|process)_\w+|up)\b(\{[^}]*\})?/g)].map((match) => {
    const selector = match[2] ?? '';
    const from = match.index + match[1]!.length;
    const original = expression.slice(from, from + selector.length);
    return {
      metric: match[1]!,
      labels: [...original.matchAll(LABEL)].map(([, name, value]) => [name!, value!] as const),
    };
  });
}

/** Labels that results are grouped by. */
export function groupedBy(expression: string): string[] {
  return [...expression.matchAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g)].flatMap(([, labels]) =>
    labels!
      .split(',')
      .map((label) => label.trim())
      .filter((label) => label !== ''),
  );
}
