/** `GET /v1/gaps` and `POST /v1/gaps/acknowledge` */
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../app.ts';
import { fieldsOf } from '../body-fields.ts';
import { ApiError, quoteName } from '../error-catalogue.ts';
import { acknowledgeSchema, gapsSchema } from '../openapi.ts';
import { readQuery } from '../query.ts';

export function registerGaps(routes: FastifyInstance, { repo, gaps }: RouteContext): void {
  const isoTime = (timeMs: number): string => new Date(timeMs).toISOString();

  routes.get('/v1/gaps', { schema: gapsSchema() }, async (request) => {
    readQuery(request.query, {});
    return {
      gaps: gaps.list().map(({ source, partition, fromOffset, toOffset, afterMs, untilMs, views }) => ({
        ...{ source, partition, from_offset: fromOffset, to_offset: toOffset },
        after: afterMs === null ? null : isoTime(afterMs),
        until: isoTime(untilMs),
        views,
      })),
    };
  });

  routes.post('/v1/gaps/acknowledge', { schema: acknowledgeSchema() }, async (request) => {
    readQuery(request.query, {});
    const name = fieldsOf(request.body, ['source'], 'the body').get('source');
    if (typeof name !== 'string') {
      throw new ApiError('invalid_body', "'source' must be the name of a source", { field: 'source' });
    }
    if (!repo.sources.has(name))
      throw new ApiError('unknown_source', `there is no source ${quoteName(name)}`);
    const acknowledged = gaps.list().filter(({ source }) => source === name).length;
    try {
      await gaps.acknowledge(name);
    } catch (error) {
      throw new ApiError('store_unavailable', 'the tile store cannot be written', {}, { cause: error });
    }
    // Values of these views no longer say what they lack: who looks for the reason later finds it here.
    request.log.warn({ source: name, gaps: acknowledged }, 'gaps of a log were acknowledged');
    return { acknowledged };
  });
}
