/** `String.prototype.isWellFormed` (ES2024, in Node 20), which the ES2023 library types do not know. */
interface WellFormedCheckable {
  isWellFormed(): boolean;
}

/** True where the text has no lone surrogate, so that UTF-8 gives it back unchanged. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as WellFormedCheckable).isWellFormed();
}
