/** A span for each request of the API; none for those that operate the process: they come every few seconds. */
import { context } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { endRequestSpan, type RequestSpan, startRequestSpan } from './tracing.ts';

export function traceRequests(app: FastifyInstance): void {
  const spans = new WeakMap<FastifyRequest, RequestSpan>();
  app.addHook('onRequest', (request, _, done) => {
    const { url } = request.routeOptions;
    if (url === undefined || !url.startsWith('/v1/')) return done();
    const started = startRequestSpan(request.method, url, request.headers);
    // Nobody records it: there is nothing to end, and nothing to be below.
    if (!started.span.isRecording()) return context.with(started.context, done);
    spans.set(request, started);
    context.with(started.context, done);
  });
  app.addHook('onResponse', (request, reply, done) => {
    const started = spans.get(request);
    if (started !== undefined) endRequestSpan(started, reply.statusCode);
    done();
  });
}
