/**
 * Spans, through the API of OpenTelemetry alone. Where nobody has registered an SDK its calls do nothing, which is the
 * default; whoever wants spans brings the SDK and exporter of their choice: see docs/observability.md.
 *
 * Names and attributes are of definitions and counts: never an entity key, an event or a value.
 */
import {
  type Attributes,
  type Context,
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';

const TRACER = 'millrace';

/** Asked anew each time: an SDK may be registered after this module was loaded, or be replaced by a test's. */
const tracer = (): Tracer => trace.getTracer(TRACER);

/** Whether what happens now belongs to a span that somebody records. */
export function isTraced(): boolean {
  return trace.getActiveSpan()?.isRecording() ?? false;
}

/** Work in a span of its own, below the active one. What it throws is the span's error, by its class only. */
export async function traced<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  return tracer().startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      failed(span, error);
      throw error;
    } finally {
      span.end();
    }
  });
}

/**
 * A span of what is over already, below the active one.
 * @param fromMs as `performance.now()`
 */
export function tracedBetween(name: string, fromMs: number, toMs: number, attributes: Attributes = {}): void {
  tracer()
    .startSpan(name, { attributes, startTime: epochMs(fromMs) })
    .end(epochMs(toMs));
}

/** Where `performance.now()` lies on the clock of the machine. */
const epochMs = (nowMs: number): number => performance.timeOrigin + nowMs;

/** Messages of errors may quote data; their class does not. */
function failed(span: Span, error: unknown): void {
  const type = error instanceof Error ? error.name : 'not an Error';
  span.setAttribute('error.type', type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** A request under way. */
export interface RequestSpan {
  readonly span: Span;
  /** In which the request is to be handled. */
  readonly context: Context;
}

/**
 * Begins the span of a request. Its parent is the span that is active, such as that of an instrumented HTTP server, or
 * else the one that the headers name (W3C `traceparent`, or what the SDK's propagator reads).
 * @param route the template of the path, not the path
 */
export function startRequestSpan(
  method: string,
  route: string,
  headers: Readonly<Record<string, unknown>>,
): RequestSpan {
  const active = context.active();
  const parent =
    trace.getSpan(active) === undefined ? propagation.extract(active, headers as object) : active;
  const span = tracer().startSpan(
    `${method} ${route}`,
    { kind: SpanKind.SERVER, attributes: { 'http.request.method': method, 'http.route': route } },
    parent,
  );
  return { span, context: trace.setSpan(parent, span) };
}

export function endRequestSpan({ span }: RequestSpan, status: number): void {
  span.setAttribute('http.response.status_code', status);
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}
