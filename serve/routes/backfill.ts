/** `POST /v1/views/{view}/backfill`, `…/backfill/states` and `…/backfill/complete`, in an engine that has its log to itself */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import { UnappliedOffsets } from '../../engine/store/unapplied-offsets.ts';
import type { RouteContext } from '../app.ts';
import { fieldsOf, readBoolean } from '../body-fields.ts';
import { ApiError, quoteName } from '../error-catalogue.ts';
import { backfillSchema } from '../openapi.ts';
import { readQuery } from '../query.ts';
import type { ViewBackfillsApi } from '../view-backfills.ts';

const URL = '/v1/views/:view/backfill';
/** One state alone may be larger than what others may send. */
const STATES_BODY_BYTES = 64 * 1024 * 1024;

const offset = z.int().min(0);
const POSITIONS = z
  .array(
    z.object({
      nextOffset: offset,
      logIdentity: z.string().nullable(),
      gaps: z.array(
        z.object({
          fromOffset: offset,
          toOffset: offset,
          afterMs: z.number().nullable(),
          untilMs: z.number(),
        }),
      ),
    }),
  )
  .nullable();
const bytes = z.base64().transform((text) => Buffer.from(text, 'base64'));
const STATES = z
  .array(
    z.object({
      key: z.string(),
      head: bytes,
      fields: z.record(z.string().regex(/^[A-Za-z0-9:]{1,16}$/), bytes),
      due_ms: z.int().min(0),
    }),
  )
  .max(1_000);
/** By partition; what a watermark remembers of it is bounded. */
const UNAPPLIED = z.array(
  z
    .object({
      from: offset,
      ranges: z.array(z.tuple([offset, offset]).refine(([first, end]) => first < end)).max(1_024),
    })
    .transform(({ from, ranges }) => UnappliedOffsets.of(from, ranges)),
);
const NAMESPACE = z.string().regex(/^[0-9a-f]{16}$/);

interface Route {
  readonly Params: { readonly view: string };
}

export function registerBackfill(
  routes: FastifyInstance,
  { repo }: RouteContext,
  backfills: ViewBackfillsApi,
): void {
  const viewOf = (name: string): CompiledView => {
    const view = repo.views.get(name);
    if (view !== undefined) return view;
    throw new ApiError('unknown_view', `there is no view ${quoteName(name)}`, {
      expected: [...repo.views.keys()],
    });
  };
  routes.post<Route>(
    URL,
    {
      schema: backfillSchema(
        'Begin to fill a view from a history, or go on with that: `millrace backfill` does.',
      ),
    },
    async (request) => {
      readQuery(request.query, {});
      const body = fieldsOf(request.body, ['fingerprint', 'positions', 'history', 'accept_gap'], 'the body');
      const view = viewOf(request.params.view);
      if (body.get('fingerprint') !== view.fingerprint) {
        throw new ApiError(
          'invalid_body',
          `view ${view.name} is defined in another way here: give the --features that the engine was started with`,
          { field: 'fingerprint' },
        );
      }
      const positions = checked(POSITIONS, body.get('positions') ?? null, 'positions');
      const acceptGap = readBoolean(body.get('accept_gap'), 'accept_gap', false);
      const history = checked(z.string().max(100), body.get('history') ?? '', 'history');
      return backfills.begin(view, { positions, history, acceptGap });
    },
  );
  routes.get<Route>(
    URL,
    { schema: backfillSchema('How far a backfill is, named by the namespace that it was begun with.') },
    async (request) => {
      const { namespace } = request.query as { readonly namespace?: unknown };
      return backfills.status(viewOf(request.params.view), checked(NAMESPACE, namespace, 'namespace'));
    },
  );
  routes.post<Route>(
    `${URL}/states`,
    {
      schema: backfillSchema('Write states of the history.'),
      bodyLimit: STATES_BODY_BYTES,
    },
    async (request) => {
      readQuery(request.query, {});
      const body = fieldsOf(request.body, ['namespace', 'states'], 'the body');
      const namespace = checked(NAMESPACE, body.get('namespace'), 'namespace');
      const states = checked(STATES, body.get('states'), 'states').map(({ key, head, fields, due_ms }) => ({
        ...{ key, head, dueMs: due_ms },
        fields: new Map(Object.entries(fields)),
      }));
      return { written: await backfills.write(viewOf(request.params.view), namespace, states) };
    },
  );
  routes.post<Route>(
    `${URL}/complete`,
    { schema: backfillSchema('All states are written: the log is applied from the cut on.') },
    async (request) => {
      readQuery(request.query, {});
      const body = fieldsOf(request.body, ['namespace', 'newest_ms', 'unapplied'], 'the body');
      const namespace = checked(NAMESPACE, body.get('namespace'), 'namespace');
      const newestMs = checked(z.array(z.int().min(-1)), body.get('newest_ms'), 'newest_ms');
      const unapplied = checked(UNAPPLIED, body.get('unapplied'), 'unapplied');
      await backfills.complete(viewOf(request.params.view), namespace, newestMs, unapplied);
      return { completed: true };
    },
  );
}

function checked<T>(schema: z.ZodType<T>, value: unknown, field: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  // What zod says may quote what was sent.
  throw new ApiError('invalid_body', `'${field}' is not what millrace backfill sends`, { field });
}
