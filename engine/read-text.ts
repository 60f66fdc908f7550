/**
 * Texts read from stored bytes. Short ones are remembered with their hashes: a column of merchants or countries repeats
 * a few texts row after row, and to make a string of bytes costs more than all else that is done to read a row.
 *
 * A text has one place to be remembered, which goes to whichever came last: bounded, and only speed depends on it.
 */
import { hash53 } from './hash64.ts';

const PLACES = 4096;

/** Longer texts seldom repeat. */
const BYTES_MAX = 32;

export class ReadText {
  readonly text: string;
  #hash = Number.NaN;

  constructor(text: string) {
    this.text = text;
  }

  /** `hash53` of the text, computed when first asked for. */
  get hash(): number {
    if (Number.isNaN(this.#hash)) this.#hash = hash53(this.text);
    return this.#hash;
  }
}

const NO_TEXT = new ReadText('');
const remembered: ReadText[] = new Array(PLACES).fill(NO_TEXT);
/** Their bytes, BYTES_MAX for each. */
const rememberedBytes = new Uint8Array(PLACES * BYTES_MAX);

/** `ignoreBOM`: a text that starts with U+FEFF must keep it. */
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The text of the bytes start ≤ i < end.
 * @throws TypeError where they are not UTF-8
 */
export function readText(bytes: Uint8Array, start: number, end: number): ReadText {
  const length = end - start;
  if (length > BYTES_MAX) return new ReadText(textDecoder.decode(bytes.subarray(start, end)));
  let hash = length;
  let all = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    all |= byte;
    hash = Math.imul(hash ^ byte, 0x0100_0193);
  }
  const place = (hash ^ (hash >>> 15)) & (PLACES - 1);
  const own = place * BYTES_MAX;
  const known = remembered[place]!;
  // Of ASCII the text is as long as its bytes; others are not remembered.
  if (known.text.length === length) {
    let i = 0;
    while (i < length && rememberedBytes[own + i] === bytes[start + i]) i++;
    if (i === length) return known;
  }
  if (all >= 0x80) return new ReadText(textDecoder.decode(bytes.subarray(start, end)));
  const read = new ReadText(asciiText(bytes, start, end));
  remembered[place] = read;
  for (let i = 0; i < length; i++) rememberedBytes[own + i] = bytes[start + i]!;
  return read;
}

const { fromCharCode } = String;

/** Some characters at once, as every call costs more than a character. */
function asciiText(b: Uint8Array, start: number, end: number): string {
  let text = '';
  let i = start;
  for (; i + 8 <= end; i += 8) {
    text += fromCharCode(b[i]!, b[i + 1]!, b[i + 2]!, b[i + 3]!, b[i + 4]!, b[i + 5]!, b[i + 6]!, b[i + 7]!);
  }
  if (i + 4 <= end) {
    text += fromCharCode(b[i]!, b[i + 1]!, b[i + 2]!, b[i + 3]!);
    i += 4;
  }
  if (i + 2 <= end) {
    text += fromCharCode(b[i]!, b[i + 1]!);
    i += 2;
  }
  return i < end ? text + fromCharCode(b[i]!) : text;
}
