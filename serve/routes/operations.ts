/** `GET /healthz`, `/readyz` and `/metrics` */
import type { FastifyInstance } from 'fastify';
import type { OperationsDependencies } from '../app.ts';
import { ApiError } from '../error-catalogue.ts';
import { plainSchema } from '../openapi.ts';

export function registerOperations(
  routes: FastifyInstance,
  { readiness, metrics, clock }: OperationsDependencies,
): void {
  metrics.onCollect(() => {
    metrics.set('millrace_ready', {}, readiness().ready ? 1 : 0);
    metrics.set('millrace_clock_seconds', {}, clock.nowMs() / 1000);
  });
  routes.get('/healthz', { schema: plainSchema('The process answers.') }, async () => ({ status: 'ok' }));
  routes.get(
    '/readyz',
    { schema: plainSchema('The process does what its roles say; with the lag of each partition.') },
    async () => {
      const { ready, reasons, warnings, lag } = readiness();
      if (!ready) {
        const details = { reasons, warnings, lag };
        throw new ApiError('not_ready', 'the process does not work as it should', details);
      }
      return { status: 'ready', warnings, lag };
    },
  );
  routes.get(
    '/metrics',
    { schema: plainSchema('Metrics in the text format of Prometheus.') },
    async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.text()),
  );
}
