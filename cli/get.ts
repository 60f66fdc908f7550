/** `millrace get`: the features of a service, as a table or as the server's JSON. */
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import { spellDuration } from '../engine/windows/duration.ts';
import { CliError } from './cli-error.ts';
import { describeReply, HttpClient, type HttpReply, NoReplyError, notListening } from './http-client.ts';
import type { Config } from './settings.ts';
import { textTable } from './text-table.ts';

export interface GetOptions {
  readonly service: string;
  readonly entities: ReadonlyMap<string, string>;
  readonly request: ReadonlyMap<string, string>;
  /** null: now. */
  readonly atMs: number | null;
  /** Those wanted; none: all of them. */
  readonly features: readonly string[];
  readonly mode: 'strict' | 'partial';
  /** null: what the service says. */
  readonly deadlineMs: number | null;
  readonly json: boolean;
}

/** Of the catalogue only what is needed here. */
interface Catalog {
  readonly services?: readonly {
    readonly name: string;
    readonly request: readonly { readonly name: string; readonly type: ColumnType }[];
  }[];
}

interface FeatureReply {
  readonly features: Readonly<Record<string, unknown>>;
  readonly metadata?: {
    readonly at?: string;
    readonly features?: Readonly<Record<string, FeatureMetadata>>;
  };
}

interface FeatureMetadata {
  readonly status?: string;
  readonly age_ms?: number;
}

export async function get(config: Config, options: GetOptions): Promise<void> {
  const client = new HttpClient(config.url, { connections: 1 });
  try {
    const reply = await ask(client, options);
    if (reply.status !== 200) throw new CliError(describeReply(reply));
    process.stdout.write(
      options.json
        ? `${JSON.stringify(reply.body, null, 2)}\n`
        : `${featureTable(reply.body as FeatureReply)}\n`,
    );
  } catch (error) {
    throw error instanceof NoReplyError ? notListening(config.url, error) : error;
  } finally {
    await client.close();
  }
}

const NO_TYPES: ReadonlyMap<string, ColumnType> = new Map();

async function ask(client: HttpClient, options: GetOptions): Promise<HttpReply> {
  const { service, entities, request, atMs, features, mode, deadlineMs } = options;
  const types = request.size === 0 ? NO_TYPES : await requestTypes(client, service);
  const body = {
    entities: Object.fromEntries(entities),
    request: Object.fromEntries(
      [...request].map(([name, text]) => [name, requestValue(text, types.get(name))]),
    ),
    ...(atMs === null ? {} : { at: atMs }),
    ...(features.length === 0 ? {} : { features }),
    mode,
    metadata: true,
  };
  const path = `/v1/services/${encodeURIComponent(service)}/features`;
  const headers = deadlineMs === null ? {} : { 'x-deadline-ms': String(deadlineMs) };
  return client.post(path, JSON.stringify(body), headers);
}

/** What the service's request data is declared as; nothing where the server does not say. */
async function requestTypes(client: HttpClient, service: string): Promise<ReadonlyMap<string, ColumnType>> {
  const { body } = await client.get('/v1/catalog');
  const found = (body as Catalog | undefined)?.services?.find(({ name }) => name === service);
  return new Map(found?.request.map(({ name, type }) => [name, type]));
}

/** Text that is no value of the type goes as text: the server says what is wrong with it. */
export function requestValue(text: string, type: ColumnType | undefined): string | number | boolean {
  switch (type) {
    case 'integer':
    case 'double':
      return /^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(text) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'timestamp':
      return /^\d+$/.test(text) ? Number(text) : text;
    default:
      return text;
  }
}

function featureTable({ features, metadata }: FeatureReply): string {
  const rows = Object.entries(features).map(([name, value]) => [
    name,
    // Text too as JSON: it is shown with its control characters escaped.
    JSON.stringify(value),
    statusOf(metadata?.features?.[name]),
  ]);
  const at = metadata?.at === undefined ? '' : `as of ${metadata.at}\n`;
  return at + textTable([['FEATURE', 'VALUE', 'STATUS'], ...rows]);
}

/** With the age of what is not of now. */
function statusOf({ status = '', age_ms }: FeatureMetadata = {}): string {
  return age_ms === undefined ? status : `${status} (${spellDuration(age_ms)})`;
}
