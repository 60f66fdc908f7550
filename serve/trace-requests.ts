/** A span for each request of the API; none for those that operate the process: they come every few seconds. */
import { context } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';
import { endRequestSpan, type RequestSpan, startRequestSpan } from './tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** null: the request has none. */
    span: RequestSpan | null;
  }
}

export function traceRequests(app: FastifyInstance): void {
  app.decorateRequest('span', null);
  app.addHook('onRequest', (request, _, done) => {
    const { url } = request.routeOptions;
    if (!url?.startsWith('/v1/')) return done();
    request.span = startRequestSpan(request.method, url, request.headers);
    // Fastify keeps the context over the arrival of the body.
    context.with(request.span.context, done);
  });
  app.addHook('onResponse', (request, reply, done) => {
    if (request.span !== null) endRequestSpan(request.span, reply.statusCode);
    done();
  });
}
