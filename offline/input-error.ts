/** Something about what was given that its owner can mend; the message says what. Names of columns and files only, no values. */
export class InputError extends Error {
  override readonly name = 'InputError';
}
