/** The parts of `Described` that are given; absent ones stay absent. */
export const DESCRIBED_OPTIONS = ['description', 'owner', 'tags'] as const;

interface DescribedOptions {
  readonly description?: string | undefined;
  readonly owner?: string | undefined;
  readonly tags?: readonly string[] | undefined;
}

export function described(options: DescribedOptions): {
  description?: string;
  owner?: string;
  tags?: readonly string[];
} {
  return {
    ...(options.description === undefined ? {} : { description: options.description }),
    ...(options.owner === undefined ? {} : { owner: options.owner }),
    ...(options.tags === undefined
      ? {}
      : { tags: Array.isArray(options.tags) ? Object.freeze([...options.tags]) : options.tags }),
  };
}

/** A frozen copy of a record; what is no record is passed through for `compileRepo` to refuse. */
export function frozenCopy<T>(record: T): T {
  return typeof record === 'object' && record !== null && !Array.isArray(record)
    ? Object.freeze({ ...record })
    : record;
}
