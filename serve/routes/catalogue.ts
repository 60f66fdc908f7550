/** `GET /v1/catalog` and `GET /openapi.json` */
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../app.ts';
import { catalogueOf } from '../catalogue.ts';
import { plainSchema } from '../openapi.ts';

export function registerCatalogue(routes: FastifyInstance, { repo }: RouteContext): void {
  const catalogue = JSON.stringify(catalogueOf(repo));
  const json = 'application/json; charset=utf-8';
  routes.get(
    '/v1/catalog',
    { schema: plainSchema('Sources, entities, views, features and services.') },
    async (_, reply) => reply.type(json).send(catalogue),
  );
  routes.get('/openapi.json', { schema: plainSchema('This description.') }, async () => routes.swagger());
}
