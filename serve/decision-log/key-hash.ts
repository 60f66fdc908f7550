/**
 * Entity keys as they are logged where nobody shall read them: HMAC-SHA-256, since a plain hash of a card number is found
 * out by hashing all card numbers. Offline the same is had from the secret alone:
 *
 *     printf 'customer_id:7' | openssl dgst -sha256 -hmac "$MILLRACE_DECISION_LOG_SECRET"
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

/** A secret that is shorter could be found out by trying. */
export const SECRET_MIN_CHARACTERS = 16;

export class KeyHash {
  /** Tells secrets apart, so that files hashed with another one are not taken for these: 8 hex digits of the hash of the empty text. */
  readonly secretId: string;
  readonly #secret: KeyObject;

  /** @param secret its UTF-8 is the key of the HMAC */
  constructor(secret: string) {
    this.#secret = createSecretKey(secret, 'utf8');
    this.secretId = this.#hash('').slice(0, 8);
  }

  /** 64 hex digits: of `ENTITY:KEY`, so that equal keys of different entities cannot be matched. */
  of(entity: string, key: string): string {
    return this.#hash(`${entity}:${key}`);
  }

  #hash(text: string): string {
    return createHmac('sha256', this.#secret).update(text, 'utf8').digest('hex');
  }
}
