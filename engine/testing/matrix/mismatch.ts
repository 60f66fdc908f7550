/** The engine and the oracle differ. */
export class Mismatch extends Error {
  override readonly name = 'Mismatch';
}
