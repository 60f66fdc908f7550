/** `POST /v1/services/{service}/features` and `…/features/batch` */
import type { FastifyInstance } from 'fastify';
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import type { RouteContext } from '../app.ts';
import { fieldsOf, readArray, readBoolean } from '../body-fields.ts';
import { ApiError, quoteName } from '../error-catalogue.ts';
import type { FeatureStatus } from '../feature-answer.ts';
import { type FeatureQuestion, FeatureReader } from '../feature-reader.ts';
import { FeatureRequestParser } from '../feature-request.ts';
import { featureResponse } from '../feature-response.ts';
import { batchSchema, featuresSchema } from '../openapi.ts';
import { readQuery } from '../query.ts';

interface Served {
  readonly reader: FeatureReader;
  readonly parser: FeatureRequestParser;
  readonly count: (statuses: ReadonlyMap<FeatureStatus, number>) => void;
}

export function registerFeatures(routes: FastifyInstance, context: RouteContext): void {
  const served = new Map(
    [...context.repo.services].map(([name, service]) => [name, serve(service, context)]),
  );

  const serviceOf = (name: string): Served => {
    const found = served.get(name);
    if (found === undefined) throw new ApiError('unknown_service', `there is no service ${quoteName(name)}`);
    return found;
  };

  routes.post<{ Params: { service: string } }>(
    '/v1/services/:service/features',
    { schema: featuresSchema() },
    async (request) => {
      readQuery(request.query, {});
      const { reader, parser, count } = serviceOf(request.params.service);
      context.onRead?.();
      const { question, ingest, metadata } = parser.parse(request.body);
      const [answers] = await reader.read([question]);
      const statuses = new Map<FeatureStatus, number>();
      const response = featureResponse({
        output: reader.output,
        answers: answers!,
        atMs: question.atMs,
        metadata,
        statuses,
      });
      count(statuses);
      if (ingest) request.admitted?.becomePush();
      return ingest ? { ...response, ingested: await record(question, context) } : response;
    },
  );

  routes.post<{ Params: { service: string } }>(
    '/v1/services/:service/features/batch',
    { schema: batchSchema() },
    async (request) => {
      readQuery(request.query, {});
      const { reader, parser, count } = serviceOf(request.params.service);
      context.onRead?.();
      const fields = fieldsOf(request.body, ['rows', 'metadata'], 'the body');
      const rows = readArray(fields.get('rows'), 'rows');
      const metadata = readBoolean(fields.get('metadata'), 'metadata', false);
      const { limits } = context;
      if (rows.length > limits.rows) {
        throw new ApiError('too_many_rows', `a batch takes at most ${limits.rows} rows`, {
          limit: limits.rows,
        });
      }
      request.admitted?.addRows(rows.length);
      const parsed = rows.map((row) =>
        orError(() => {
          const question = parser.parseRow(row);
          reader.check(question);
          return question;
        }),
      );
      const questions = parsed.filter((row): row is FeatureQuestion => !(row instanceof ApiError));
      const answers = await reader.read(questions);
      const statuses = new Map<FeatureStatus, number>();
      let next = 0;
      const body = parsed.map((row) => {
        if (row instanceof ApiError) return row.body();
        const own = answers[next++]!;
        return featureResponse({ output: reader.output, answers: own, atMs: row.atMs, metadata, statuses });
      });
      count(statuses);
      return { rows: body };
    },
  );
}

function serve(service: CompiledService, context: RouteContext): Served {
  const { store, shards, push, clock, wallClock, isCatchingUp, namespaceOf, seenMark } = context;
  const { gaps, metrics, logger } = context;
  return {
    reader: new FeatureReader({
      service,
      store,
      shards,
      isCatchingUp,
      gapsOf: (view) => gaps.of(view),
      ...(namespaceOf === undefined ? {} : { namespaceOf }),
      ...(seenMark === undefined ? {} : { seenMark }),
      onEvaluationError: (view, error) => {
        metrics.count('millrace_feature_evaluation_errors_total', { view: view.name });
        const reason = error instanceof Error ? error.message : 'not an Error';
        logger?.error({ view: view.name, reason }, 'a state could not be evaluated');
      },
    }),
    parser: new FeatureRequestParser({ service, push, clock, wallClock }),
    count: (statuses) => {
      for (const [status, n] of statuses) {
        metrics.count('millrace_feature_values_total', { service: service.name, status }, n);
      }
    },
  };
}

/** Records the event of a question, decoded already; a later push of the same id is then a duplicate. */
async function record(question: FeatureQuestion, context: RouteContext): Promise<'recorded' | 'duplicate'> {
  const { source, event } = question.asked!;
  const { accepted, duplicates, rejected } = await context.push.gateway(source)!.pushDecoded(1, () => event);
  const outcome = accepted === 1 ? 'accepted' : duplicates === 1 ? 'duplicate' : 'rejected';
  context.metrics.count('millrace_push_events_total', { source, outcome });
  if (outcome === 'rejected') {
    const { code, column, message } = rejected[0]!;
    throw new ApiError('invalid_event', message, { code, column });
  }
  return outcome === 'accepted' ? 'recorded' : 'duplicate';
}

function orError<T>(make: () => T): T | ApiError {
  try {
    return make();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
}
