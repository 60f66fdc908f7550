/** Which of the content types that a route can answer in a request wants, by its header `accept`. */
import Negotiator from 'negotiator';
import { ApiError } from './error-catalogue.ts';

export const JSON_TYPE = 'application/json';
export const ARROW_STREAM_TYPE = 'application/vnd.apache.arrow.stream';
/** The registered name first; the others are in use. */
export const MESSAGE_PACK_TYPES = [
  'application/vnd.msgpack',
  'application/msgpack',
  'application/x-msgpack',
] as const;

/** The header of a JSON answer. */
export const JSON_HEADER = 'application/json; charset=utf-8';

/** JSON first: it is what a wildcard, or no header at all, gets. */
export const ERROR_TYPES: readonly string[] = [JSON_TYPE, ...MESSAGE_PACK_TYPES];
export const FEATURES_TYPES: readonly string[] = ERROR_TYPES;
export const BATCH_TYPES: readonly string[] = [...FEATURES_TYPES, ARROW_STREAM_TYPE];

export const isMessagePack = (type: string): boolean =>
  (MESSAGE_PACK_TYPES as readonly string[]).includes(type);

interface Headers {
  readonly headers: { readonly accept?: string | undefined };
}

/**
 * One of `offered`, by the weights of the header (`q=`), and in their order where these are equal.
 * @throws ApiError `not_acceptable` where nothing fits
 */
export function negotiateType(request: Headers, offered: readonly string[]): string {
  const type = preferred(request, offered);
  if (type === undefined) {
    throw new ApiError('not_acceptable', `the answer can be had as ${offered.join(', ')}`, { offered });
  }
  return type;
}

/** The type of an error, or of what was done already: JSON also where nothing fits, as somebody has to be told. */
export function negotiateLeniently(request: Headers): string {
  return preferred(request, ERROR_TYPES) ?? JSON_TYPE;
}

function preferred({ headers }: Headers, offered: readonly string[]): string | undefined {
  const { accept } = headers;
  // What nearly every client sends.
  if (accept === undefined || accept === '*/*' || accept === JSON_TYPE || accept === '') return JSON_TYPE;
  // JSON is UTF-8 whether or not somebody says so; of a type with parameters nothing is offered.
  const plain = accept.replaceAll(/;\s*charset="?utf-8"?/gi, '');
  return new Negotiator({ headers: { accept: plain } }).mediaType(offered);
}
