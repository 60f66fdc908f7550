/** A partition that must not go on until somebody has decided how. Never retryable. */
export abstract class PartitionStoppedError extends Error {}

/** The log is not the one the watermarks were written for, or ends before them. */
export class LogReplacedError extends PartitionStoppedError {
  override readonly name = 'LogReplacedError';
}

/** Records that windows may still ask for were gone before they were applied, and the settings say to stop there. */
export class LogGapError extends PartitionStoppedError {
  override readonly name = 'LogGapError';
}
