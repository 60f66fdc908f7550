/** JSON over HTTP to a running server. */
import { Pool } from 'undici';
import { CliError } from './cli-error.ts';

export interface HttpReply {
  readonly status: number;
  /** undefined: the body is no JSON. */
  readonly body: unknown;
  /** Seconds the server asks to wait; null: it does not say. */
  readonly retryAfterSeconds: number | null;
}

/** The request got no reply. */
export class NoReplyError extends Error {
  override readonly name = 'NoReplyError';
  /** False: the server cannot have seen the request. */
  readonly maybeSent: boolean;

  constructor(cause: unknown) {
    const { code, message } = cause as NodeJS.ErrnoException;
    super(message || code || 'no reply', { cause });
    this.maybeSent = !['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'].includes(
      code ?? '',
    );
  }
}

const REPLY_TIMEOUT_MS = 60_000;

export class HttpClient {
  readonly url: string;
  readonly #pool: Pool;
  readonly #basePath: string;

  constructor(url: string, options: { readonly connections: number }) {
    const { origin, pathname } = new URL(url);
    this.url = url;
    this.#basePath = pathname.replace(/\/$/, '');
    this.#pool = new Pool(origin, {
      connections: options.connections,
      headersTimeout: REPLY_TIMEOUT_MS,
      bodyTimeout: REPLY_TIMEOUT_MS,
    });
  }

  get(path: string): Promise<HttpReply> {
    return this.#request('GET', path);
  }

  /** @param json a body that is JSON text already */
  post(path: string, json: string, headers: Readonly<Record<string, string>> = {}): Promise<HttpReply> {
    return this.#request('POST', path, json, headers);
  }

  delete(path: string): Promise<HttpReply> {
    return this.#request('DELETE', path);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  /** @throws NoReplyError */
  async #request(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    json?: string,
    more: Readonly<Record<string, string>> = {},
  ): Promise<HttpReply> {
    try {
      const { statusCode, headers, body } = await this.#pool.request({
        method,
        path: this.#basePath + path,
        ...(json === undefined
          ? {}
          : { body: json, headers: { ...more, 'content-type': 'application/json' } }),
      });
      const text = await body.text();
      const retryAfter = Number(headers['retry-after']);
      return {
        status: statusCode,
        body: parsed(text),
        retryAfterSeconds: Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter : null,
      };
    } catch (error) {
      throw new NoReplyError(error);
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `code` of what the server says is wrong; undefined: it does not say. */
export const errorCodeOf = ({ body }: HttpReply): unknown =>
  (body as { error?: { code?: unknown } } | null | undefined)?.error?.code;

/** What the server says is wrong, on one line; details below it. */
export function describeReply({ status, body }: HttpReply): string {
  const error = (
    body as { error?: { code?: unknown; message?: unknown; details?: unknown } } | null | undefined
  )?.error;
  if (typeof error?.message !== 'string') return `HTTP ${status}`;
  // Every error of Millrace has details, most of them none.
  const isEmpty = Object.keys(error.details ?? {}).length === 0;
  const details = isEmpty ? '' : `\n  ${JSON.stringify(error.details)}`;
  return `${error.message} (${String(error.code)}, HTTP ${status})${details}`;
}

/** For a server that does not answer at all. */
export function notListening(url: string, cause: NoReplyError): CliError {
  return new CliError(
    `no Millrace answers at ${url} (${cause.message}). Start one with: millrace up --features DIR` +
      `, or say where it is with --url`,
    { cause },
  );
}
