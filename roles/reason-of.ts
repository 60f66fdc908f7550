/** What an error says of itself; for log lines and readiness, never for answers. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'not an Error';
}
