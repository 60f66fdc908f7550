/** Sizes as people write them: `'512MiB'`, `'2GB'`; a number is bytes. */

const UNIT_BYTES = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;

const PATTERN = /^(\d{1,15}) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$/;

/** Bytes, or null where the text is no size. Not checked against 2⁵³. */
export function parseByteSize(text: string): number | null {
  const match = PATTERN.exec(text);
  return match === null ? null : Number(match[1]) * UNIT_BYTES[(match[2] ?? 'B') as keyof typeof UNIT_BYTES];
}

/** The largest binary unit that is exact: 2 147 483 648 → `'2GiB'`. */
export function formatByteSize(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    if (bytes !== 0 && bytes % UNIT_BYTES[unit] === 0) return `${bytes / UNIT_BYTES[unit]}${unit}`;
  }
  return `${bytes}B`;
}
