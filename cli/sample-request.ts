/** One curl line that pushes an event and one that reads features it changes, for any feature repo. */
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledRepo, CompiledService, CompiledSource } from '../engine/definitions/compiled.ts';
import type { Columns } from '../engine/definitions/types.ts';

/** A value that the column admits. */
function sampleValue(name: string, type: ColumnType, nowMs: number): unknown {
  switch (type) {
    case 'string':
      return `sample-${name}`;
    case 'integer':
    case 'long':
      return 1;
    case 'double':
      return 9.99;
    case 'boolean':
      return true;
    case 'timestamp':
      return new Date(nowMs).toISOString();
  }
}

/** A filled row; `like` gives values that look real, e.g. an event of the simulator. */
function sampleRow(
  columns: Columns,
  nowMs: number,
  like: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(columns).map(([name, { type }]) => [name, like[name] ?? sampleValue(name, type, nowMs)]),
  );
}

/** An event of now with an id of its own. */
function sampleEvent(
  { definition }: CompiledSource,
  nowMs: number,
  like: Readonly<Record<string, unknown>> | undefined,
): Record<string, unknown> {
  const event = sampleRow(definition.columns, nowMs, like);
  event[definition.eventTime] = new Date(nowMs).toISOString();
  if (definition.eventId !== null) {
    // Ids that a simulator makes from its start time are larger by orders of magnitude.
    event[definition.eventId] =
      definition.columns[definition.eventId]!.type === 'string' ? `sample-${nowMs}` : nowMs;
  }
  return event;
}

/** In single quotes, where a POSIX shell changes nothing. */
const shellQuote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function curlLine(url: string, body: unknown): string {
  return `curl -sS ${shellQuote(url)} -H 'content-type: application/json' -d ${shellQuote(JSON.stringify(body))}`;
}

/** The service whose features the source's events change, the one that asks for the least request data. */
function serviceOf(repo: CompiledRepo, source: CompiledSource): CompiledService | undefined {
  return [...repo.services.values()]
    .filter(({ views }) => views.some(({ view }) => view.source === source.definition))
    .sort((a, b) => Object.keys(a.request).length - Object.keys(b.request).length)[0];
}

export interface SampleRequests {
  readonly push: string;
  /** null: no service of the repo reads the source. */
  readonly read: string | null;
}

/** @param like data of an event that looks real, for a source; a source without one gets made-up values */
export function sampleRequests(args: {
  repo: CompiledRepo;
  url: string;
  nowMs: number;
  like?: { readonly source: string; readonly data: Readonly<Record<string, unknown>> };
}): SampleRequests | null {
  const { repo, url, nowMs, like } = args;
  const sources = [...repo.sources.values()];
  // A source with event ids first: its sample may be pushed twice and counts once.
  // Facts last: they come from tables.
  const rank = ({ definition }: CompiledSource): number =>
    definition.batch !== undefined ? 2 : definition.eventId === null ? 1 : 0;
  sources.sort((a, b) => rank(a) - rank(b));
  const source =
    repo.sources.get(like?.source ?? '') ?? sources.find((each) => serviceOf(repo, each)) ?? sources[0];
  if (source === undefined) return null;
  const event = sampleEvent(source, nowMs, like?.source === source.name ? like.data : undefined);
  const push = curlLine(`${url}/v1/sources/${source.name}/events?wait=applied`, { events: [event] });
  const service = serviceOf(repo, source);
  if (service === undefined) return { push, read: null };
  const entities = Object.fromEntries(
    service.entities.map(({ name }) => {
      const own = service.views.find(
        ({ view }) => view.entity.name === name && view.source === source.definition,
      );
      const key = own === undefined ? undefined : event[own.view.definition.keyColumn];
      return [name, String(key ?? `sample-${name}`)];
    }),
  );
  const request = sampleRow(service.request, nowMs, event);
  const body = { entities, ...(Object.keys(request).length === 0 ? {} : { request }) };
  return { push, read: curlLine(`${url}/v1/services/${service.name}/features`, body) };
}
