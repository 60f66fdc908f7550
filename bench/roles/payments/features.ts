/** The repo of the write benchmarks. Each run has a topic of its own. */
import { paymentService } from '../payment-service.ts';

export const cards = paymentService({
  topic: process.env.BENCH_TOPIC ?? 'payments',
  views: Number(process.env.BENCH_VIEWS ?? 1),
});
