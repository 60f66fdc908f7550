/** What making a training set may take, bytes: see `TrainingSetOptions.memoryBytes`. */
export const MEMORY_DEFAULT_BYTES = 2 * 2 ** 30;
/** DuckDB asks for 125 MB for each of its threads; below that it cannot sort. */
export const MEMORY_MIN_BYTES = 512 * 2 ** 20;
