/** The engine broke a promise: a wrong value, a watermark past what was applied, a loss that nobody was told of. */
export class Mismatch extends Error {
  override readonly name = 'Mismatch';
}
