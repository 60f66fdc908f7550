/** Bits into bytes, from the highest of each; the last byte is filled up with zeros. */
export class BitWriter {
  #bytes = new Uint8Array(1 << 14);
  #length = 0;
  #pending = 0;
  #bits = 0;

  clear(): void {
    this.#length = 0;
    this.#pending = 0;
    this.#bits = 0;
  }

  /** A whole byte, at the begin of one. */
  byte(value: number): void {
    this.#bytes[this.#length++] = value;
  }

  /** @param length ≤ 24, so that with what is pending it fits 32 bits */
  bits(value: number, length: number): void {
    this.#pending = (this.#pending << length) | value;
    this.#bits += length;
    while (this.#bits >= 8) {
      this.#bits -= 8;
      this.#bytes[this.#length++] = (this.#pending >>> this.#bits) & 0xff;
    }
  }

  /** `value` ones and a zero. */
  unary(value: number): void {
    let ones = value;
    for (; ones >= 16; ones -= 16) this.bits(0xffff, 16);
    this.bits((1 << (ones + 1)) - 2, ones + 1);
  }

  /** A view that holds until the next `clear`. */
  finish(): Uint8Array {
    if (this.#bits > 0) this.bits(0, 8 - this.#bits);
    return this.#bytes.subarray(0, this.#length);
  }
}
