/** `POST`, `GET` and `DELETE /v1/views/{view}/rebuild`, in an engine that has its log to itself */
import type { FastifyInstance } from 'fastify';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import type { RouteContext } from '../app.ts';
import { ApiError, quoteName } from '../error-catalogue.ts';
import { rebuildSchema } from '../openapi.ts';
import { readQuery } from '../query.ts';
import type { ViewRebuildsApi } from '../rebuild-status.ts';

const PARAMETERS = { accept_gap: ['true', 'false'] } as const;
const URL = '/v1/views/:view/rebuild';

interface Route {
  readonly Params: { readonly view: string };
}

export function registerRebuild(
  routes: FastifyInstance,
  { repo }: RouteContext,
  rebuilds: ViewRebuildsApi,
): void {
  const viewOf = (name: string): CompiledView => {
    const view = repo.views.get(name);
    if (view === undefined) {
      throw new ApiError('unknown_view', `there is no view ${quoteName(name)}`, {
        expected: [...repo.views.keys()],
      });
    }
    return view;
  };
  routes.post<Route>(
    URL,
    {
      schema: rebuildSchema(
        'Make the state of a view anew from the log, beside the one that is read until then.',
      ),
    },
    async (request) => {
      const query = readQuery(request.query, PARAMETERS);
      return rebuilds.start(viewOf(request.params.view), { acceptGap: query.accept_gap === 'true' });
    },
  );
  routes.get<Route>(URL, { schema: rebuildSchema('How far the rebuild of a view is.') }, async (request) => {
    readQuery(request.query, {});
    return rebuilds.status(viewOf(request.params.view));
  });
  routes.delete<Route>(URL, { schema: rebuildSchema('Give up the rebuild of a view.') }, async (request) => {
    readQuery(request.query, {});
    return rebuilds.abort(viewOf(request.params.view));
  });
}
