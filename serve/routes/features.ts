/** `POST /v1/services/{service}/features` and `…/features/batch` */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { CompiledService } from '../../engine/definitions/compiled.ts';
import type { RouteContext } from '../app.ts';
import { type AnsweredRow, arrowStream } from '../arrow-stream.ts';
import { readArray, readBoolean } from '../body-fields.ts';
import {
  ARROW_STREAM_TYPE,
  BATCH_TYPES,
  FEATURES_TYPES,
  JSON_HEADER,
  JSON_TYPE,
  negotiateType,
} from '../content-types.ts';
import { DEADLINE_HEADER, LATE, readDeadlineMs, settledBy, waitingEndsMs } from '../deadline.ts';
import { DeadlineReads } from '../deadline-reads.ts';
import { decidedRow, type Ingested } from '../decision-log/decision-record.ts';
import { ApiError, type ApiErrorCode, quoteName } from '../error-catalogue.ts';
import { FEATURE_STATUSES, type FeatureStatus } from '../feature-answer.ts';
import { type FeatureQuestion, FeatureReader, type ReadTerms } from '../feature-reader.ts';
import { batchFields, FeatureRequestParser, readMode, requestFields } from '../feature-request.ts';
import { featureResponse, openFeatureJson } from '../feature-response.ts';
import { toServable } from '../json-value.ts';
import { LastAnswers } from '../last-answers.ts';
import { LogRate } from '../log-rate.ts';
import { encodeMessagePack } from '../message-pack.ts';
import { batchSchema, featuresSchema } from '../openapi.ts';
import { readQuery } from '../query.ts';
import { ServicePlans } from '../service-plans.ts';
import { StageTimings } from '../stage-timings.ts';

/** One row, with the event that it may bring: bodies of 16 MiB would keep a process busy for a second and more. */
const ROW_BODY_BYTES_MAX = 1024 * 1024;

interface Plan {
  readonly reader: FeatureReader;
  readonly parser: FeatureRequestParser;
}

interface Served {
  readonly service: CompiledService;
  readonly plans: ServicePlans<Plan>;
  /** See `CompiledService`. */
  readonly deadlineMs: number;
  readonly count: (statuses: ReadonlyMap<FeatureStatus, number>) => void;
  readonly timings: StageTimings;
}

export function registerFeatures(routes: FastifyInstance, context: RouteContext): void {
  const { decisions } = context;
  const reads = new DeadlineReads(context.store);
  const served = new Map(
    [...context.repo.services].map(([name, service]) => [name, serve(service, context, reads)]),
  );

  const serviceOf = (name: string): Served => {
    const found = served.get(name);
    if (found === undefined) throw new ApiError('unknown_service', `there is no service ${quoteName(name)}`);
    return found;
  };

  /** Names that are no service's are not counted: they would be labels without bound. */
  const timed =
    (kind: 'single' | 'batch') =>
    (
      { params }: { readonly params: unknown },
      { statusCode, elapsedTime }: FastifyReply,
      done: () => void,
    ): void => {
      served.get((params as { service: string }).service)?.timings.answered(kind, statusCode, elapsedTime);
      done();
    };

  routes.post<{ Params: { service: string } }>(
    '/v1/services/:service/features',
    {
      schema: featuresSchema(),
      onResponse: timed('single'),
      bodyLimit: Math.min(context.limits.bodyBytes, ROW_BODY_BYTES_MAX),
    },
    async (request, reply) => {
      readQuery(request.query, {});
      const { plans, deadlineMs, count, timings } = serviceOf(request.params.service);
      const type = negotiateType(request, FEATURES_TYPES);
      context.onRead?.();
      const fields = requestFields(request.body);
      const { reader, parser } = plans.of(fields.get('features'));
      const terms = termsOf(request, reply, fields, deadlineMs);
      const { question, ingest, metadata } = parser.parse(fields);
      const [answers] = await reader.read([question], terms).catch((error: unknown) => {
        throw ingest ? notRecorded(error) : error;
      });
      const buildingMs = performance.now();
      const statuses = new Map<FeatureStatus, number>();
      const args = { output: reader.output, answers: answers!, atMs: question.atMs, metadata, statuses };
      if (type === JSON_TYPE) {
        const text = openFeatureJson(args);
        timings.done('serialise', buildingMs, performance.now());
        if (ingest) request.admitted?.becomePush();
        const ingested = ingest ? await record(question, context, terms) : null;
        count(statuses);
        decisions?.add(request.id, reader, [decidedRow(0, question, answers!, ingested)]);
        reply.header('content-type', JSON_HEADER);
        return ingested === null ? `${text}}` : `${text},"ingested":"${ingested}"}`;
      }
      const response = featureResponse({ ...args, encode: toServable });
      const builtInMs = performance.now() - buildingMs;
      if (ingest) request.admitted?.becomePush();
      const ingested = ingest ? await record(question, context, terms) : null;
      reply.header('content-type', type);
      const encodingMs = performance.now();
      const body = encodeMessagePack(ingested === null ? response : { ...response, ingested });
      // Recording lies between the two, and is none of it.
      timings.done('serialise', encodingMs - builtInMs, performance.now());
      count(statuses);
      decisions?.add(request.id, reader, [decidedRow(0, question, answers!, ingested)]);
      return body;
    },
  );

  routes.post<{ Params: { service: string } }>(
    '/v1/services/:service/features/batch',
    { schema: batchSchema(), onResponse: timed('batch') },
    async (request, reply) => {
      readQuery(request.query, {});
      const { service, plans, deadlineMs, count, timings } = serviceOf(request.params.service);
      const type = negotiateType(request, BATCH_TYPES);
      context.onRead?.();
      const fields = batchFields(request.body);
      const rows = readArray(fields.get('rows'), 'rows');
      const { reader, parser } = plans.of(fields.get('features'));
      const terms = termsOf(request, reply, fields, deadlineMs);
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
      const answers = await reader.read(questions, terms);
      const buildingMs = performance.now();
      const statuses = new Map<FeatureStatus, number>();
      let next = 0;
      const answered = parsed.map((row): AnsweredRow | ApiError =>
        row instanceof ApiError ? row : { answers: answers[next++]!, atMs: row.atMs },
      );
      const { output } = reader;
      let body: string | Buffer;
      if (type === ARROW_STREAM_TYPE) {
        body = await arrowStream({ service, output, rows: answered, metadata, statuses });
      } else if (type === JSON_TYPE) {
        const texts = answered.map((row) =>
          row instanceof ApiError
            ? JSON.stringify(row.body())
            : `${openFeatureJson({ output, ...row, metadata, statuses })}}`,
        );
        body = `{"rows":[${texts.join(',')}]}`;
      } else {
        const objects = answered.map((row) =>
          row instanceof ApiError
            ? row.body()
            : featureResponse({ output, ...row, metadata, statuses, encode: toServable }),
        );
        body = encodeMessagePack({ rows: objects });
      }
      count(statuses);
      timings.done('serialise', buildingMs, performance.now());
      if (decisions !== undefined) {
        let own = 0;
        const rows = parsed.flatMap((row, r) =>
          row instanceof ApiError ? [] : [decidedRow(r, row, answers[own++]!, null)],
        );
        decisions.add(request.id, reader, rows);
      }
      reply.header('content-type', type === JSON_TYPE ? JSON_HEADER : type);
      return body;
    },
  );
}

function serve(service: CompiledService, context: RouteContext, reads: DeadlineReads): Served {
  const { store, shards, push, clock, wallClock, isCatchingUp, namespaceOf, seenMark } = context;
  const { gaps, metrics, logger } = context;
  const timings = new StageTimings(service.name, metrics);
  const tallies = new Map(
    FEATURE_STATUSES.map((status) => [
      status,
      metrics.tally('millrace_feature_values_total', { service: service.name, status }),
    ]),
  );
  const lines = new LogRate();
  const { staleForMs } = service;
  const last = staleForMs === 0 ? null : new LastAnswers({ maxAgeMs: staleForMs, clock: wallClock });
  const planOf = (asked: CompiledService, name: string): Plan => ({
    reader: new FeatureReader({
      service: asked,
      store,
      reads,
      shards,
      isCatchingUp,
      stages: timings,
      gapsOf: (view) => gaps.of(view),
      ...(namespaceOf === undefined ? {} : { namespaceOf }),
      ...(seenMark === undefined ? {} : { seenMark }),
      ...(last === null ? {} : { last: { answers: last, plan: name } }),
      onPartialRead: ({ status, cause }) => {
        const omitted = lines.admit(`partial ${status}`);
        if (omitted === null) return;
        const reason = cause instanceof Error ? cause.message : null;
        const fields = { service: service.name, status, reason, ...(omitted > 0 ? { omitted } : {}) };
        logger?.warn(fields, 'features were answered without some states');
      },
      onEvaluationError: (view, error) => {
        metrics.count('millrace_feature_evaluation_errors_total', { view: view.name });
        const omitted = lines.admit(`evaluation ${view.name}`);
        if (omitted === null) return;
        const reason = error instanceof Error ? error.message : 'not an Error';
        const fields = { view: view.name, reason, ...(omitted > 0 ? { omitted } : {}) };
        logger?.error(fields, 'a state could not be evaluated');
      },
    }),
    parser: new FeatureRequestParser({ service, asked, push, clock, wallClock }),
  });
  return {
    service,
    timings,
    plans: new ServicePlans(service, planOf),
    deadlineMs: service.deadlineMs,
    count: (statuses) => {
      for (const [status, n] of statuses) tallies.get(status)!.add(n);
    },
  };
}

/** @throws ApiError */
function termsOf(
  request: FastifyRequest,
  reply: FastifyReply,
  fields: ReadonlyMap<string, unknown>,
  whenMissingMs: number,
): ReadTerms {
  const deadlineMs = readDeadlineMs(request.headers[DEADLINE_HEADER], whenMissingMs);
  return {
    untilMs: waitingEndsMs(deadlineMs, reply.elapsedTime),
    partial: readMode(fields.get('mode')) === 'partial',
  };
}

/** What the store did not answer in time: the caller is told that the event was not recorded either. */
const UNANSWERED: readonly ApiErrorCode[] = ['deadline_exceeded', 'store_unavailable'];

function notRecorded(error: unknown): unknown {
  if (!(error instanceof ApiError) || !UNANSWERED.includes(error.code)) return error;
  const { code, message, cause } = error;
  return new ApiError(code, message, { ingested: 'not_recorded' }, { cause });
}

/**
 * Records the event of a question, whose answer is made. A strict caller is told in an error that it may not be durable
 * by the deadline, and it is not begun with after it. For a partial answer it is: the event has happened, and does not
 * depend on what the store could say.
 *
 * @returns `unknown`: it is being recorded still
 * @throws ApiError, PushError
 */
async function record(
  question: FeatureQuestion,
  context: RouteContext,
  { untilMs, partial }: ReadTerms,
): Promise<Ingested> {
  if (!partial && performance.now() >= untilMs) {
    throw new ApiError('deadline_exceeded', 'the deadline has passed before the event was recorded', {
      ingested: 'not_recorded',
    });
  }
  const ingested = await settledBy(recordEvent(question, context), untilMs);
  if (ingested !== LATE) return ingested;
  if (partial) return 'unknown';
  throw new ApiError('deadline_exceeded', 'the event is not known to be durable by the deadline', {
    ingested: 'unknown',
  });
}

/** Decoded already; a later push of the same id is then a duplicate. */
async function recordEvent(
  question: FeatureQuestion,
  context: RouteContext,
): Promise<'recorded' | 'duplicate'> {
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
