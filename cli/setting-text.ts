/** Texts of flags and variables as values; a text that is none is left as it is, for the schema to refuse. */
export const numberFromText = (value: string): unknown =>
  /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
export const booleanFromText = (value: string): unknown =>
  ['true', '1', 'on', 'yes'].includes(value)
    ? true
    : ['false', '0', 'off', 'no'].includes(value)
      ? false
      : value;
