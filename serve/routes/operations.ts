/** `GET /healthz`, `/readyz` and `/metrics` */
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../app.ts';
import { ApiError } from '../error-catalogue.ts';
import { plainSchema } from '../openapi.ts';

export function registerOperations(
  routes: FastifyInstance,
  { readiness, metrics, clock, push }: RouteContext,
): void {
  metrics.onCollect(() => {
    metrics.set('millrace_ready', {}, readiness().ready ? 1 : 0);
    metrics.set('millrace_clock_seconds', {}, clock.nowMs() / 1000);
    metrics.set('millrace_push_in_flight_bytes', {}, push.inFlightBytes);
  });
  routes.get('/healthz', { schema: plainSchema('The process answers.') }, async () => ({ status: 'ok' }));
  routes.get('/readyz', { schema: plainSchema('The process ingests and serves as it should.') }, async () => {
    const { ready, reasons } = readiness();
    if (!ready) throw new ApiError('not_ready', 'the process does not ingest as it should', { reasons });
    return { status: 'ready' };
  });
  routes.get(
    '/metrics',
    { schema: plainSchema('Metrics in the text format of Prometheus.') },
    async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.text()),
  );
}
