import { ApiError, quoteName } from './error-catalogue.ts';

/** Query parameters with few allowed values; unknown and repeated ones are refused by name. */
export function readQuery<P extends Readonly<Record<string, readonly string[]>>>(
  query: unknown,
  parameters: P,
): { readonly [K in keyof P]: P[K][number] | undefined } {
  const values: Record<string, string | undefined> = Object.create(null);
  for (const [name, value] of Object.entries(query as Record<string, unknown>)) {
    const allowed = Object.hasOwn(parameters, name) ? parameters[name]! : undefined;
    if (allowed === undefined) {
      throw new ApiError('unknown_parameter', `there is no query parameter ${quoteName(name)}`, {
        expected: Object.keys(parameters),
      });
    }
    if (typeof value !== 'string' || !allowed.includes(value)) {
      throw new ApiError('invalid_parameter', `query parameter '${name}' must be ${allowed.join(' or ')}`, {
        parameter: name,
      });
    }
    values[name] = value;
  }
  return values as { readonly [K in keyof P]: P[K][number] | undefined };
}
