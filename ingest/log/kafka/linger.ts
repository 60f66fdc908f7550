/**
 * How long after records at a partition's end the next fetch from its broker is held back by default, ms, so that what comes
 * meanwhile is one fetch and one chunk. Measured at 500 events/s: see ARCHITECTURE.md, decisions.
 */
export const DEFAULT_LINGER_MS = 40;
