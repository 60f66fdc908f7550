/**
 * The schema registry, as far as Millrace needs one: any server with Confluent's REST interface.
 *
 * Confluent's client does the talking. Only its client module is loaded, and only when a registry is opened: the
 * package's index brings the key management of three clouds along.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Client, SchemaInfo, SchemaMetadata } from '@confluentinc/schemaregistry';

export const SCHEMA_TYPES = ['AVRO', 'JSON', 'PROTOBUF'] as const;
export type SchemaType = (typeof SCHEMA_TYPES)[number];

export interface RegistryOptions {
  /** Tried in turn. `mock://NAME` is a registry in memory, for tests. */
  readonly urls: readonly string[];
  readonly username?: string;
  readonly password?: string;
  /** Sent as a bearer token, instead of username and password. */
  readonly token?: string;
  /** PEM texts. */
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly rejectUnauthorized?: boolean;
  };
  /** For one request. @default 5,000 */
  readonly timeoutMs?: number;
}

export const DEFAULT_REGISTRY_TIMEOUT_MS = 5_000;
/** Of an answer; the largest schemas are some hundred kilobytes. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** A schema as it is registered, with all it refers to. */
export interface RegisteredSchema {
  /** Text, as there may be types we do not know. */
  readonly type: string;
  readonly schema: string;
  /** Texts of the schemas it refers to, directly or not, each after those it needs itself. */
  readonly references: readonly string[];
  /** Types of its rules that change what readers see, such as ENCRYPT; none of them is carried out here. */
  readonly readRules: readonly string[];
}

export interface SubjectVersion extends RegisteredSchema {
  readonly id: number;
  readonly version: number;
}

export interface NewSchema {
  readonly type: SchemaType;
  readonly schema: string;
}

export interface SchemaRegistry {
  /** null: the registry answered that it has no such schema. */
  schemaById(id: number): Promise<RegisteredSchema | null>;
  /** The newest version of a subject; null: the registry answered that there is none. */
  latest(subject: string): Promise<SubjectVersion | null>;
  /**
   * Registers a schema unless it is registered already.
   * @throws RegistryRefusalError where it is not compatible with earlier versions, or not valid
   */
  register(subject: string, schema: NewSchema): Promise<{ readonly id: number; readonly version: number }>;
  /** Whether it could be registered beside the versions that there are; true where there are none. */
  isCompatible(subject: string, schema: NewSchema): Promise<boolean>;
  close(): void;
}

/** The registry cannot be reached, is too slow, or does not do what it was asked for now. Retryable. */
export class RegistryUnavailableError extends Error {
  override readonly name = 'RegistryUnavailableError';
}

/** The registry will not have the schema. Never retryable. */
export class RegistryRefusalError extends Error {
  override readonly name = 'RegistryRefusalError';
}

/** Loads the client; no request is made before the first call. */
export async function openSchemaRegistry(options: RegistryOptions): Promise<SchemaRegistry> {
  const { SchemaRegistryClient } = await import('@confluentinc/schemaregistry/dist/schemaregistry-client.js');
  const timeoutMs = options.timeoutMs ?? DEFAULT_REGISTRY_TIMEOUT_MS;
  const { username, password, token } = options;
  // The agents' timeout also ends connecting, which axios' own does not.
  const agent = { keepAlive: true, timeout: timeoutMs };
  const httpAgent = new HttpAgent(agent);
  const httpsAgent = new HttpsAgent({ ...agent, ...options.tls });
  const newClient = (): Client =>
    SchemaRegistryClient.newClient({
      baseURLs: [...options.urls],
      // Whoever asks tries again, with a longer breath than a request's.
      maxRetries: 0,
      ...(token === undefined && username !== undefined
        ? {
            basicAuthCredentials: {
              credentialsSource: 'USER_INFO',
              userInfo: `${username}:${password ?? ''}`,
            },
          }
        : {}),
      createAxiosDefaults: {
        timeout: timeoutMs,
        httpAgent,
        httpsAgent,
        maxContentLength: ANSWER_BYTES_MAX,
        // The client's own bearer credentials ask for a logical cluster, which only Confluent Cloud has.
        ...(token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } }),
      },
    });
  return new ConfluentRegistry(newClient, timeoutMs * options.urls.length + DEADLINE_MARGIN_MS, () => {
    httpAgent.destroy();
    httpsAgent.destroy();
  });
}

/**
 * The registry's own words for a subject, a version and a schema that it does not have, and `mock://`'s for all three.
 * Any other 404 is another server's or a wrong path's, be it in the same shape: Apicurio answers those with
 * `"error_code": 404`.
 */
const NOT_THERE: ReadonlySet<number> = new Set([40401, 40402, 40403, 40400]);

/** The request's own limits come first; they say more. */
const DEADLINE_MARGIN_MS = 500;

/** A registry behind a client that exists: in tests the one that the serializers use, too. */
export function registryOfClient(client: Client): SchemaRegistry {
  return new ConfluentRegistry(
    () => client,
    DEFAULT_REGISTRY_TIMEOUT_MS + DEADLINE_MARGIN_MS,
    () => {},
  );
}

class ConfluentRegistry implements SchemaRegistry {
  readonly #newClient: () => Client;
  readonly #deadlineMs: number;
  readonly #release: () => void;
  #client: Client;

  constructor(newClient: () => Client, deadlineMs: number, release: () => void) {
    this.#newClient = newClient;
    this.#deadlineMs = deadlineMs;
    this.#release = release;
    this.#client = newClient();
  }

  async schemaById(id: number): Promise<RegisteredSchema | null> {
    const info = await this.#askInfo((client) => client.getBySubjectAndId('', id));
    return info === null ? null : this.#complete(info);
  }

  async latest(subject: string): Promise<SubjectVersion | null> {
    const info = await this.#askInfo((client) => client.getLatestSchemaMetadata(subject));
    if (info === null) return null;
    return { ...(await this.#complete(info)), id: info.id ?? 0, version: info.version ?? 0 };
  }

  async register(subject: string, schema: NewSchema): Promise<{ id: number; version: number }> {
    const info = { schemaType: schema.type, schema: schema.schema };
    const answer: Partial<SchemaMetadata> | null = await this.#send((client) =>
      client.registerFullResponse(subject, info, false),
    );
    const { id, version } = answer ?? {};
    if (id === undefined) throw notARegistry();
    // Registries before 8.0 answer with the id alone.
    return {
      id,
      version: version ?? (await this.#send((client) => client.getVersion(subject, info, false, false))),
    };
  }

  async isCompatible(subject: string, schema: NewSchema): Promise<boolean> {
    const info = { schemaType: schema.type, schema: schema.schema };
    const answer = await this.#ask(async (client) => {
      const compatible: unknown = await client.testSubjectCompatibility(subject, info);
      if (typeof compatible !== 'boolean') throw notARegistry();
      return { compatible };
    });
    return answer?.compatible ?? true;
  }

  close(): void {
    this.#client.close();
    this.#release();
  }

  async #complete(info: SchemaInfo): Promise<RegisteredSchema> {
    const references = new Map<string, string>();
    await this.#follow(info, references);
    return {
      // Registries leave the type out where it is the oldest one.
      type: info.schemaType ?? 'AVRO',
      schema: info.schema,
      references: [...references.values()],
      readRules: readRulesOf(info),
    };
  }

  /** Collects references, each after its own. */
  async #follow(info: SchemaInfo, found: Map<string, string>): Promise<void> {
    for (const { name, subject, version } of info.references ?? []) {
      if (found.has(name)) continue;
      const referred = await this.#askInfo((client) => client.getSchemaMetadata(subject, version, true));
      if (referred === null) {
        // A registry keeps what others refer to: it has not heard of it yet.
        throw new RegistryUnavailableError(
          `the schema registry does not have version ${version} of ${subject}`,
        );
      }
      await this.#follow(referred, found);
      found.set(name, referred.schema);
    }
  }

  /**
   * A schema, or null where the answer is "not found". What answers 200 without one is no registry, such as a proxy's
   * login page: what it says proves nothing of the records.
   */
  #askInfo<T extends SchemaInfo>(request: (client: Client) => Promise<T>): Promise<T | null> {
    return this.#ask(async (client) => {
      const info: Partial<SchemaInfo> | null = await request(client);
      if (typeof info?.schema === 'string' && info.schema !== '') return info as T;
      // It keeps every answer for good.
      client.clearCaches();
      throw notARegistry();
    });
  }

  /** null where the answer is "not found". */
  async #ask<T>(request: (client: Client) => Promise<T>): Promise<T | null> {
    try {
      return await this.#withDeadline(request);
    } catch (error) {
      const { status, code } = answerOf(error);
      if (status === 404 && code !== null && NOT_THERE.has(code)) return null;
      throw unavailable(error);
    }
  }

  async #send<T>(request: (client: Client) => Promise<T>): Promise<T> {
    try {
      return await this.#withDeadline(request);
    } catch (error) {
      const { status, code, message } = answerOf(error);
      if ((status === 409 || status === 422) && code !== null) {
        throw new RegistryRefusalError(message, { cause: error });
      }
      throw unavailable(error);
    }
  }

  async #withDeadline<T>(request: (client: Client) => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // The client lets one request at a time pass: one that never ends would hold up all later ones.
        this.#client = this.#newClient();
        reject(
          new RegistryUnavailableError(`the schema registry did not answer within ${this.#deadlineMs} ms`),
        );
      }, this.#deadlineMs);
    });
    try {
      return await Promise.race([request(this.#client), deadline]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Status and error code of the registry's answer, if it was one. */
function answerOf(error: unknown): { status: number | null; code: number | null; message: string } {
  const { status, errorCode, message } = error as {
    status?: unknown;
    errorCode?: unknown;
    message?: unknown;
  };
  return {
    status: typeof status === 'number' ? status : null,
    // The client says −1 where the answer's body was not a registry's.
    code: typeof errorCode === 'number' && errorCode > 0 ? errorCode : null,
    // The client appends the code.
    message: String(message ?? error).replace(/; Error code: -?\d+$/, ''),
  };
}

function unavailable(error: unknown): Error {
  if (error instanceof RegistryUnavailableError) return error;
  const { status, message } = answerOf(error);
  const hint = HINTS.get(status) ?? '';
  return new RegistryUnavailableError(
    `the schema registry cannot be used: ${message || 'no answer'}${hint}`,
    {
      cause: error,
    },
  );
}

const CHECK_LOGIN = ' (check its user name, password or token)';
const HINTS: ReadonlyMap<number | null, string> = new Map([
  [401, CHECK_LOGIN],
  [403, CHECK_LOGIN],
  [404, " (check the path of --registry: Apicurio's is /apis/ccompat/v7)"],
]);
function notARegistry(): Error {
  return new RegistryUnavailableError(
    "the schema registry's answer is not a registry's: does --registry lead to one, perhaps through a proxy?",
  );
}

/** Rules that are carried out when reading and give other values than were written. */
function readRulesOf({ ruleSet }: SchemaInfo): string[] {
  const rules = [
    ...(ruleSet?.domainRules ?? []).filter(({ kind }) => kind !== 'CONDITION'),
    ...(ruleSet?.encodingRules ?? []),
  ];
  return rules
    .filter(
      ({ mode, disabled }) => disabled !== true && (mode === undefined || /^(READ|WRITEREAD)$/.test(mode)),
    )
    .map(({ type }) => type);
}
