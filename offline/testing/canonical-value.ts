/** One form for a feature's value, whatever a format makes of it: integers as texts, times in ms, maps as entries in order. */

/**
 * @param type of the catalogue
 * @param column type of the values of pairs
 * @param value as JSON has it, or a CSV field, or a value of an Arrow library
 */
export function canonicalValue(type: string, column: string, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (type.endsWith('[]')) {
    const items = [...((typeof value === 'string' ? parsedJson(value) : value) as Iterable<unknown>)];
    return items.map((item) => canonicalValue(type.slice(0, -2), column, item));
  }
  if (type.startsWith('map<')) {
    const given = typeof value === 'string' ? parsedJson(value) : value;
    const entries: [string, unknown][] =
      Symbol.iterator in (given as object)
        ? [...(given as Iterable<[string, unknown]>)]
        : Object.entries(given as object);
    return entries
      .map(([key, v]): [string, unknown] => [key, canonicalValue(type.slice(4, -1), column, v)])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }
  switch (type) {
    case 'pair': {
      const pair = value as { readonly value: unknown; readonly count: unknown };
      return [canonicalValue(column, 'string', pair.value), Number(pair.count)];
    }
    case 'integer':
    case 'long':
      return String(value);
    case 'double':
      return Number(value);
    case 'boolean':
      return typeof value === 'string' ? value === 'true' : value;
    case 'timestamp':
      return typeof value === 'string' ? Date.parse(value.replace(/\+00$/, 'Z')) : Number(value);
    default:
      return value;
  }
}

/** JSON in which integers may have more digits than a double: those come as texts. */
export function parsedJson(json: string): Iterable<unknown> & Readonly<Record<string, unknown>> {
  return JSON.parse(json.replace(/(?<=[:[,])-?\d{16,}(?=[,\]}])/g, '"$&"')) as never;
}
