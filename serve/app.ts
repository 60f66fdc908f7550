/**
 * The HTTP edge. `buildApp` makes a fastify app that listens nowhere: tests inject into it, commands let it listen.
 * Processes that do not serve have only the routes of `buildOperationsApp`.
 *
 * Bodies are checked by our own code, which names what is wrong; fastify's schemas only describe the routes for
 * /openapi.json. Every error leaves through one handler, in one shape.
 */
import type { Socket } from 'node:net';
import swagger from '@fastify/swagger';
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { ShardMark } from '../engine/store/shard-mark.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import type { DeadLetterBox } from '../ingest/dead-letter-box.ts';
import type { EventPush } from '../ingest/event-push.ts';
import type { PartitionLag } from '../ingest/ingest-progress.ts';
import type { OpenGap } from '../ingest/open-gaps.ts';
import { PushError } from '../ingest/push-error.ts';
import { Admission, type AdmittedRequest, classOfRoute } from './admission.ts';
import { isMessagePack, JSON_HEADER, MESSAGE_PACK_TYPES, negotiateLeniently } from './content-types.ts';
import type { DecisionLog } from './decision-log/decision-log.ts';
import { ApiError, type ApiErrorCode } from './error-catalogue.ts';
import { parseJsonBody } from './json-body.ts';
import { LogRate } from './log-rate.ts';
import { decodeMessagePack, encodeMessagePack } from './message-pack.ts';
import type { Metrics, Tally } from './metrics.ts';
import { openApiInfo } from './openapi.ts';
import type { ViewRebuildsApi } from './rebuild-status.ts';
import { requestId } from './request-id.ts';
import { registerBackfill } from './routes/backfill.ts';
import { registerCatalogue } from './routes/catalogue.ts';
import { registerDeadLetters } from './routes/dead-letters.ts';
import { registerEvents } from './routes/events.ts';
import { registerFeatures } from './routes/features.ts';
import { registerGaps } from './routes/gaps.ts';
import { registerOperations } from './routes/operations.ts';
import { registerRebuild } from './routes/rebuild.ts';
import { traceRequests } from './trace-requests.ts';
import type { ViewBackfillsApi } from './view-backfills.ts';

export interface AppLimits {
  /** @default 16 MiB */
  readonly bodyBytes: number;
  /** Events per push. @default 50,000 */
  readonly events: number;
  /** Rows per batch. @default 1,000 */
  readonly rows: number;
  /** Time for a request to arrive, ms. @default 30 s */
  readonly requestTimeoutMs: number;
  /** Feature requests in flight; pushes may be half of that. See admission.ts. @default 256 */
  readonly inFlight: number;
  /** Delay of the event loop, and 5/3 of what requests wait for one another, beyond which requests are shed, ms; see load-limit.ts. @default 5 */
  readonly targetDelayMs: number;
  /** Connections of clients; further ones are closed at once. @default 4,096 */
  readonly connections: number;
  /** Of bodies on their way and of answers that are not sent, pushes and feature requests each. See admission.ts. @default 64 MiB */
  readonly bytesInFlight: number;
}

export const DEFAULT_APP_LIMITS: AppLimits = {
  bodyBytes: 16 * 1024 * 1024,
  events: 50_000,
  rows: 1_000,
  requestTimeoutMs: 30_000,
  inFlight: 256,
  targetDelayMs: 5,
  connections: 4_096,
  bytesInFlight: 64 * 1024 * 1024,
};

/** Headers are short: who takes longer holds a connection rather than asks for something. */
const HEADERS_TIMEOUT_MS = 10_000;
/** Without a byte either way: longer than any answer is waited for. */
const CONNECTION_IDLE_MS = 120_000;
/** How often Node looks for requests that take too long. */
const CONNECTIONS_CHECK_MS = 5_000;
/** Of a connection without a request; more than load balancers have (60 s), who would send on a closed one. */
export const KEEP_ALIVE_MS = 72_000;

export interface Readiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reasons: readonly string[];
  /** What somebody should know although it keeps nobody from asking, such as what the log has lost. */
  readonly warnings: readonly string[];
  /** How far each partition of the log has been applied, as seen from this process. */
  readonly lag: readonly PartitionLag[];
}

/** What every process with an HTTP port has. */
export interface OperationsDependencies {
  /** What the engine takes for now. */
  readonly clock: Clock;
  readonly readiness: () => Readiness;
  readonly metrics: Metrics;
  readonly logger?: FastifyBaseLogger;
  readonly limits?: Partial<AppLimits>;
}

/** Records that the log lost before they were applied. */
export interface ServedGaps {
  /** What a view lacks: see `FeatureReaderOptions`. */
  of(view: CompiledView): readonly LogGap[];
  /** Those that some window may still ask for. */
  list(): readonly OpenGap[];
  /** Forgets those of a source. @throws what the store throws */
  acknowledge(source: string): Promise<void>;
}

export interface AppDependencies extends OperationsDependencies {
  readonly repo: CompiledRepo;
  readonly store: TileStore;
  readonly shards: number;
  readonly push: EventPush;
  /** Processing time. */
  readonly wallClock: Clock;
  readonly isCatchingUp: (view: CompiledView) => boolean;
  readonly gaps: ServedGaps;
  /** See `FeatureReaderOptions`. */
  readonly namespaceOf?: (view: CompiledView) => string;
  /** See `FeatureReaderOptions`. */
  readonly seenMark?: (view: CompiledView, shard: number) => ShardMark | null;
  /** Rebuilds of views, where this process makes them. @default they are made elsewhere */
  readonly rebuilds?: ViewRebuildsApi;
  /** Backfills, likewise. */
  readonly backfills?: ViewBackfillsApi;
  /** The dead letters of a source; where they are another's to look after, the routes are not there. */
  readonly deadLetters?: (source: string) => DeadLetterBox | undefined;
  /** What is told of every answer with features. @default nothing is */
  readonly decisions?: DecisionLog;
  /** Called when features are asked for, so that background work can step aside. */
  readonly onRead?: () => void;
}

/** What the routes work with. */
export interface RouteContext extends Omit<AppDependencies, 'limits'> {
  readonly limits: AppLimits;
}

/** @example const app = await buildApp(dependencies); await app.inject('/healthz'); await app.listen({ port }) */
export async function buildApp(dependencies: AppDependencies): Promise<FastifyInstance> {
  const limits = { ...DEFAULT_APP_LIMITS, ...dependencies.limits };
  const context: RouteContext = { ...dependencies, limits };
  const { metrics, push } = dependencies;
  metrics.onCollect(() => metrics.set('millrace_push_in_flight_bytes', {}, push.inFlightBytes));
  return buildEdge(dependencies, { noRoute: 'there is no such route; see /openapi.json' }, (routes) => {
    registerEvents(routes, context);
    registerFeatures(routes, context);
    registerCatalogue(routes, context);
    registerGaps(routes, context);
    if (dependencies.rebuilds !== undefined) registerRebuild(routes, context, dependencies.rebuilds);
    if (dependencies.backfills !== undefined) registerBackfill(routes, context, dependencies.backfills);
    registerDeadLetters(routes, context);
    registerOperations(routes, context);
  });
}

export interface OperationsAppDependencies extends OperationsDependencies {
  /** What the process is for instead, for those who ask it for other routes. */
  readonly roles: readonly string[];
}

/** Health, readiness and metrics only. */
export async function buildOperationsApp(dependencies: OperationsAppDependencies): Promise<FastifyInstance> {
  const { roles } = dependencies;
  const noRoute =
    `this process has the role${roles.length === 1 ? '' : 's'} ${roles.join(' and ')}, and the routes /healthz, /readyz ` +
    'and /metrics: push to and read from a `serve` process';
  return buildEdge(dependencies, { noRoute }, (routes) => registerOperations(routes, dependencies));
}

async function buildEdge(
  dependencies: OperationsDependencies,
  { noRoute }: { readonly noRoute: string },
  register: (routes: FastifyInstance) => void,
): Promise<FastifyInstance> {
  const { logger, metrics } = dependencies;
  const limits = { ...DEFAULT_APP_LIMITS, ...dependencies.limits };
  const lines = new LogRate();
  const app: FastifyInstance = fastify({
    ...(logger === undefined ? { logger: false as const } : { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    // Of a connection whose client does not read what it is sent, too.
    connectionTimeout: CONNECTION_IDLE_MS,
    http: {
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, limits.requestTimeoutMs),
      connectionsCheckingInterval: CONNECTIONS_CHECK_MS,
    },
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    routerOptions: { maxParamLength: 1_024 },
    genReqId: requestId,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      // No hook has run.
      reply.header('x-request-id', request.id);
      sendError(error, request as FastifyRequest, reply as FastifyReply, lines);
    },
    clientErrorHandler,
  });

  app.setErrorHandler<FastifyError>((error, request, reply) => sendError(error, request, reply, lines));
  app.setNotFoundHandler((request, reply) => {
    sendError(new ApiError('not_found', noRoute), request, reply, lines);
  });
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (body) => JSON.stringify(body));

  app.removeAllContentTypeParsers();
  app.decorateRequest('bodyBytes', 0);
  admitRequests(app, limits, metrics);
  const parseAs = (types: readonly string[], parse: (body: Buffer) => unknown): void => {
    app.addContentTypeParser([...types], { parseAs: 'buffer' }, (request, body, done) => {
      request.bodyBytes = body.length;
      try {
        done(null, body.length === 0 ? undefined : parse(body as Buffer));
      } catch (error) {
        done(error as Error);
      }
    });
  };
  parseAs(['application/json'], parseJsonBody);
  parseAs(MESSAGE_PACK_TYPES, decodeMessagePack);
  // Hooks with a callback: a promise for each of them would cost more than what they do.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  traceRequests(app);
  app.addHook('onRequest', (request, _reply, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding === undefined || encoding === 'identity') {
      done();
      return;
    }
    done(
      new ApiError('unsupported_media_type', 'the body must not be compressed', {
        header: 'content-encoding',
      }),
    );
  });
  const answered = new AnsweredRequests(metrics);
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    answered.count(route, request.method, reply.statusCode);
    metrics.observe('millrace_http_request_duration_seconds', { route }, reply.elapsedTime / 1000);
    // The template of the path: nothing that a caller wrote.
    const { statusCode: status, elapsedTime: ms } = reply;
    request.log.debug({ route, method: request.method, status, ms }, 'a request was answered');
    done();
  });

  await app.register(swagger, { openapi: openApiInfo() });
  const methods = new Map<string, string[]>();
  app.addHook('onRoute', ({ url, method, schema }) => {
    if (schema?.hide !== true) methods.set(url, [...(methods.get(url) ?? []), ...[method].flat()]);
  });
  await app.register(async (routes) => register(routes));
  for (const [url, allowed] of methods) refuseOtherMethods(app, url, allowed);
  await app.ready();
  return app;
}

/** Counts requests by labels that come again and again. */
class AnsweredRequests {
  readonly #metrics: Metrics;
  /** By route, then by method and status: as many as there are routes and errors. */
  readonly #tallies = new Map<string, Map<string, Tally>>();

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  count(route: string, method: string, status: number): void {
    let ofRoute = this.#tallies.get(route);
    if (ofRoute === undefined) {
      ofRoute = new Map();
      this.#tallies.set(route, ofRoute);
    }
    const name = `${method} ${status}`;
    let tally = ofRoute.get(name);
    if (tally === undefined) {
      tally = this.#metrics.tally('millrace_http_requests_total', { route, method, status });
      ofRoute.set(name, tally);
    }
    tally.add();
  }
}

/** Before any other hook: what is shed costs nothing more. */
function admitRequests(app: FastifyInstance, limits: AppLimits, metrics: Metrics): void {
  app.server.maxConnections = limits.connections;
  app.server.on('drop', () => metrics.count('millrace_connections_refused_total', {}));
  const admission = new Admission({ ...limits, metrics });
  admission.guard(app.server);
  app.decorateRequest('admitted', null);
  app.addHook('onRequest', (request, reply, done) => {
    const requestClass = classOfRoute(request.method, request.routeOptions.url);
    if (requestClass === null) {
      done();
    } else if (admission.sheds(requestClass, request.raw, reply.raw)) {
      // Where `guard` has not seen it: in a test without a server, or at a second address of the host's name.
      reply.hijack();
    } else {
      request.admitted = admission.admit(requestClass, request.raw);
      done();
    }
  });
  app.addHook('preValidation', (request, _reply, done) => {
    try {
      request.admitted?.begin();
      done();
    } catch (error) {
      done(error as ApiError);
    }
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.admitted !== null) {
      request.admitted.release();
      request.admitted.sending(reply.raw, (payload as string | Buffer | null)?.length ?? 0);
    }
    done(null, payload);
  });
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Answers 405 before a body is read. */
function refuseOtherMethods(app: FastifyInstance, url: string, allowed: readonly string[]): void {
  const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
    reply.header('allow', allowed.join(', '));
    throw new ApiError('method_not_allowed', `${request.method} is not allowed here`, { allowed });
  };
  app.route({
    method: METHODS.filter((method) => !allowed.includes(method)),
    url,
    schema: { hide: true },
    onRequest: refuse,
    handler: refuse,
  });
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Size of the body as it was received; 0 without one. */
    bodyBytes: number;
    /** Of feature requests and pushes. */
    admitted: AdmittedRequest | null;
  }
}

const FASTIFY_CODES: ReadonlyMap<string, readonly [ApiErrorCode, string]> = new Map([
  // The client went away in the middle of its request: nobody reads the answer, and nothing is wrong here.
  ['ECONNRESET', ['bad_request', 'the request was cut off']],
  ['FST_ERR_CTP_BODY_TOO_LARGE', ['body_too_large', 'the body is too large']],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', ['unsupported_media_type', 'the content type is not supported here']],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', ['bad_request', 'the body is not as long as content-length says']],
  ['FST_ERR_CTP_EMPTY_TYPE', ['unsupported_media_type', 'the body has no content type']],
  ['FST_ERR_BAD_URL', ['bad_request', 'the URL cannot be decoded']],
  ['FST_ERR_MAX_PARAM_LENGTH', ['bad_request', 'the URL is too long']],
]);

function asApiError(error: unknown, request: FastifyRequest): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof PushError) return new ApiError(error.code, error.message, {}, { cause: error });
  const code = String((error as { code?: unknown } | null)?.code);
  const known = FASTIFY_CODES.get(code);
  if (known !== undefined) return new ApiError(known[0], known[1], {}, { cause: error });
  const message = 'the server has a defect; the request id finds it in the log';
  return new ApiError('internal', message, { request_id: request.id }, { cause: error });
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, lines: LogRate): void {
  const answer = asApiError(error, request);
  if (answer.status >= 500) {
    const route = request.routeOptions.url;
    // A defect is found by the id of its request, so that each has its line.
    const isDefect = answer.code === 'internal';
    const omitted = isDefect ? 0 : lines.admit(`${answer.code} ${route}`);
    if (omitted !== null) {
      const fields = {
        code: answer.code,
        route,
        ...causeForLog(answer),
        ...(omitted > 0 ? { omitted } : {}),
      };
      request.log[isDefect ? 'error' : 'warn'](fields, answer.message);
    }
  }
  if (answer.retryAfter !== null) reply.header('retry-after', answer.retryAfter);
  const type = negotiateLeniently(request);
  reply.code(answer.status);
  if (isMessagePack(type)) reply.header('content-type', type).send(encodeMessagePack(answer.body()));
  else reply.header('content-type', JSON_HEADER).send(JSON.stringify(answer.body()));
}

/** Name, message and stack only: errors may carry more, such as the data they were thrown over. */
function causeForLog({ cause }: ApiError): {
  readonly err?: { readonly type: string; readonly message: string; readonly stack: string };
} {
  return cause instanceof Error
    ? { err: { type: cause.name, message: cause.message, stack: cause.stack ?? '' } }
    : {};
}

/** Errors before there is a request: what Node's parser refuses. */
function clientErrorHandler(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const answer =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? new ApiError('request_timeout', 'the request did not arrive in time')
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? new ApiError('headers_too_large', 'the headers are too large')
        : new ApiError('bad_request', 'the request is not well-formed HTTP');
  if (socket.writable) {
    const body = JSON.stringify(answer.body());
    const head = [
      `HTTP/1.1 ${answer.status} ${answer.code}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}
