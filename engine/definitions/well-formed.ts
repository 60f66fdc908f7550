/** `String.prototype.isWellFormed` and `toWellFormed` (ES2024, in Node 20), which the ES2023 library types do not know. */
interface WellFormedCheckable {
  isWellFormed(): boolean;
  toWellFormed(): string;
}

/** True where the text has no lone surrogate, so that UTF-8 gives it back unchanged. */
export function isWellFormed(text: string): boolean {
  return (text as unknown as WellFormedCheckable).isWellFormed();
}

/** The text with U+FFFD in place of each lone surrogate: what UTF-8 makes of it. */
export function toWellFormed(text: string): string {
  return (text as unknown as WellFormedCheckable).toWellFormed();
}
