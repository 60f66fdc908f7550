/** What a field takes in a store besides its bytes: its name, and what the store keeps per field. */
export const FIELD_OVERHEAD_BYTES = 64;

/** How a field counts towards the bound of a state; 0 where it is absent. */
export function fieldSizeBytes(bytes: Uint8Array | null | undefined): number {
  return bytes == null ? 0 : bytes.length + FIELD_OVERHEAD_BYTES;
}
