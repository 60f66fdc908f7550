/** Bytes of a request body → JSON value, refusing what is not UTF-8 and what would reach an object's prototype. */
import secureJson from 'secure-json-parse';
import { ApiError } from './error-catalogue.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

export function decodeText(body: Uint8Array): string {
  try {
    return decoder.decode(body);
  } catch (error) {
    throw new ApiError('invalid_json', 'the body is not UTF-8', {}, { cause: error });
  }
}

export type JsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string };

/** The message never quotes the text, which may be personal data. */
export function parseJson(text: string): JsonResult {
  try {
    return { ok: true, value: secureJson.parse(text, { protoAction: 'error', constructorAction: 'error' }) };
  } catch (error) {
    const forbidden = error instanceof Error && error.message.includes('forbidden prototype property');
    return {
      ok: false,
      message: forbidden ? "has a key '__proto__' or 'constructor.prototype'" : 'is not JSON',
    };
  }
}

export function parseJsonBody(body: Uint8Array): unknown {
  const result = parseJson(decodeText(body));
  if (!result.ok) throw new ApiError('invalid_json', `the body ${result.message}`);
  return result.value;
}
