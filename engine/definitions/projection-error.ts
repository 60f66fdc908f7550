/** A view's filter, projection or key column cannot use an event. The event goes to the dead letters of that view. */
export class ProjectionError extends Error {
  override readonly name = 'ProjectionError';
  readonly view: string;
  /** The projected or key column; null for the filter. */
  readonly column: string | null;

  /** `reason` must not hold values of the event; what the user's function threw is kept as `cause`. */
  constructor(view: string, column: string | null, reason: string, options?: ErrorOptions) {
    super(`view ${view}, ${column === null ? 'filter' : `column '${column}'`}: ${reason}`, options);
    this.view = view;
    this.column = column;
  }

  /**
   * What the user's function threw, class and message, at most 1,000 characters; null: it threw nothing. It may hold values of the
   * event: not for logs.
   */
  get thrown(): string | null {
    if (!('cause' in this)) return null;
    const { cause } = this;
    const text =
      cause instanceof Error ? `${thrownClass(cause)}: ${textOf(() => cause.message)}` : textOf(() => cause);
    return text.slice(0, THROWN_MAX_LENGTH);
  }
}

const THROWN_MAX_LENGTH = 1_000;

/** Class of what a user's function threw: its name is the code's, where it looks like one. */
export function thrownClass(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'not an Error';
  const name = textOf(() => thrown.name);
  return /^[A-Za-z_$][\w$]{0,63}$/.test(name) ? name : 'Error';
}

/** Whatever it is, asking it must not fail. */
function textOf(read: () => unknown): string {
  try {
    return String(read());
  } catch {
    return '(without a text)';
  }
}
