/** The same definitions over topics of other names: tests that share a broker each have their own. */

export function withOwnTopics(
  definitions: Iterable<unknown>,
  topicOf: (source: string) => string,
): unknown[] {
  const copies = new Map<object, object>();
  const copyOf = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    const known = copies.get(value);
    if (known !== undefined) return known;
    const copy: Record<string, unknown> = Array.isArray(value) ? ([] as never) : {};
    // Known before its parts are copied: references lead back to their view.
    copies.set(value, copy);
    for (const [name, part] of Object.entries(value)) copy[name] = copyOf(part);
    if (copy.kind === 'stream_source') copy.topic = topicOf(copy.name as string);
    return Object.freeze(copy);
  };
  return [...definitions].map(copyOf);
}
