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
}
