/** What the processes of `--workers` say to each other. */
import type { WorkerMetrics } from '../serve/metrics.ts';

/** A worker to the first process. */
export type WorkerMessage =
  /** It does what its role says. */
  | { readonly type: 'millrace:ready' }
  /** Somebody asked it for the metrics of all. */
  | { readonly type: 'millrace:ask-metrics'; readonly request: number }
  /** Its own metrics, or why there are none. */
  | {
      readonly type: 'millrace:own-metrics';
      readonly request: number;
      readonly metrics: WorkerMetrics | string;
    };

/** The first process to a worker. */
export type PrimaryMessage =
  | { readonly type: 'millrace:tell-own-metrics'; readonly request: number }
  /** The metrics of all, or why there are none. */
  | {
      readonly type: 'millrace:metrics';
      readonly request: number;
      readonly text: string;
      readonly ok: boolean;
    };
