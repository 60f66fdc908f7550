/** Of `featureSkew()` and `millrace skew`; here by themselves, as most commands never need DuckDB. */

/** Answers that are looked at. */
export const SKEW_ROWS_DEFAULT = 10_000;
export const SKEW_SEED_DEFAULT = 1;
/** Relative. */
export const SKEW_TOLERANCE_DEFAULT = 1e-9;
/** What is acknowledged is visible within this: the objective of docs/observability.md. */
export const SKEW_LAG_DEFAULT_MS = 100;
