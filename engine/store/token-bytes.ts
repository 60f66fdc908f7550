/** Tokens and namespaces are 64 bits: 16 hex digits in memory, 8 bytes in a store. */

export const TOKEN_BYTES = 8;

const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** 8 bytes as 16 lower-case hex digits. */
export function readHex(bytes: Uint8Array, at: number): string {
  let hex = '';
  for (let i = 0; i < 8; i++) hex += HEX_OF_BYTE[bytes[at + i]!];
  return hex;
}

/** 16 checked lower-case hex digits as 8 bytes. */
export function writeHex(target: Uint8Array, at: number, hex: string): void {
  for (let i = 0; i < 8; i++) {
    target[at + i] = hexDigit(hex.charCodeAt(2 * i)) * 16 + hexDigit(hex.charCodeAt(2 * i + 1));
  }
}

function hexDigit(unit: number): number {
  return unit < 0x3a ? unit - 0x30 : unit - 0x57;
}
