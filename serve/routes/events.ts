/** `POST /v1/sources/{source}/events` */
import type { FastifyInstance } from 'fastify';
import type { UnreadableEvent } from '../../ingest/push-gateway.ts';
import type { RouteContext } from '../app.ts';
import { fieldsOf, readArray } from '../body-fields.ts';
import { isMessagePack, negotiateLeniently } from '../content-types.ts';
import { ApiError, quoteName } from '../error-catalogue.ts';
import { decodeText, parseJson } from '../json-body.ts';
import { encodeMessagePack } from '../message-pack.ts';
import { pushSchema } from '../openapi.ts';
import { readQuery } from '../query.ts';
import { traced } from '../tracing.ts';

const PARAMETERS = { wait: ['durable', 'applied'], dry_run: ['true', 'false'] } as const;

/** The lines of an NDJSON body; blank ones are not counted. */
class NdjsonBody {
  readonly lines: readonly string[];

  constructor(body: Uint8Array) {
    this.lines = decodeText(body)
      .split('\n')
      .filter((line) => line.trim() !== '');
  }
}

export function registerEvents(routes: FastifyInstance, context: RouteContext): void {
  const { push, limits, metrics } = context;

  routes.register(async (scope) => {
    scope.addContentTypeParser('application/x-ndjson', { parseAs: 'buffer' }, (request, body, done) => {
      request.bodyBytes = body.length;
      try {
        done(null, new NdjsonBody(body as Buffer));
      } catch (error) {
        done(error as Error);
      }
    });

    scope.post<{ Params: { source: string } }>(
      '/v1/sources/:source/events',
      { schema: pushSchema() },
      async (request, reply) => {
        const { source } = request.params;
        const gateway = push.gateway(source);
        if (gateway === undefined) {
          throw new ApiError('unknown_source', `there is no source ${quoteName(source)}`);
        }
        const query = readQuery(request.query, PARAMETERS);
        const options = {
          wait: query.wait ?? 'durable',
          dryRun: query.dry_run === 'true',
          bytes: request.bodyBytes,
        } as const;
        const events = readEvents(request.body);
        const count = events instanceof NdjsonBody ? events.lines.length : events.length;
        if (count > limits.events) {
          throw new ApiError('too_many_events', `a push takes at most ${limits.events} events`, {
            limit: limits.events,
          });
        }
        const decode =
          events instanceof NdjsonBody
            ? (index: number) => {
                const line = parseJson(events.lines[index]!);
                return line.ok ? gateway.decode(line.value) : unreadable(line.message);
              }
            : (index: number) => gateway.decode(events[index]);
        const result = await traced(
          'millrace.push',
          { 'millrace.source': source, 'millrace.events': count },
          () => gateway.pushDecoded(count, decode, options),
        );
        if (!options.dryRun) {
          const outcomes = {
            accepted: result.accepted,
            duplicate: result.duplicates,
            rejected: result.rejected.length,
          };
          for (const [outcome, n] of Object.entries(outcomes)) {
            metrics.count('millrace_push_events_total', { source, outcome }, n);
          }
        }
        reply.code(count > 0 && result.rejected.length === count ? 422 : 200);
        const type = negotiateLeniently(request);
        if (!isMessagePack(type)) return result;
        reply.header('content-type', type);
        return encodeMessagePack(result);
      },
    );
  });
}

function readEvents(body: unknown): NdjsonBody | readonly unknown[] {
  if (body instanceof NdjsonBody) return body;
  const fields = fieldsOf(body, ['events'], 'the body');
  return readArray(fields.get('events'), 'events');
}

const unreadable = (message: string): UnreadableEvent => ({
  ok: false,
  code: 'not_json',
  column: null,
  message: `the line ${message}`,
});
