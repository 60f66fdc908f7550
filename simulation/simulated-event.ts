/** An event of a simulated run. Repeats of it are the same object. */
export interface SimulatedEvent {
  readonly id: number;
  readonly timeMs: number;
  readonly key: string | null;
  readonly amount: number;
  readonly kind: string;
  /** Processing time of its first append. */
  readonly appendedMs: number;
}
