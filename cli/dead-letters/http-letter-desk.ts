import type { LetterFilter, LetterState, LetterSummary, Unreplayable } from '../../ingest/dead-letter-box.ts';
import type { LetterOrigin } from '../../ingest/letter-shelf.ts';
import { CliError } from '../cli-error.ts';
import {
  describeReply,
  errorCodeOf,
  HttpClient,
  type HttpReply,
  NoReplyError,
  notListening,
} from '../http-client.ts';
import type { LetterDesk, ListedLetters, Replayed, ShownLetter } from './letter-desk.ts';

/** Records of one request: some seconds at most. */
const REPLAY_LIMIT = 1_000;

/** As the engine writes it. */
interface LetterReply extends Omit<LetterSummary, 'appendedMs' | 'writtenMs' | 'valueBytes'> {
  readonly appended: string | null;
  readonly written: string;
  readonly value_bytes: number | null;
}

interface WholeLetterReply extends LetterReply {
  readonly state: LetterState;
  readonly thrown: string | null;
  readonly stamp: string | null;
  readonly value?: string | null;
}

interface ReplayReply extends Replayed {
  readonly remaining: number;
  readonly now: number;
}

/** The dead letters of a running embedded engine: no other process may open its directory. */
export class HttpLetterDesk implements LetterDesk {
  readonly #client: HttpClient;

  constructor(url: string) {
    this.#client = new HttpClient(url, { connections: 1 });
  }

  sources(): Promise<readonly string[]> {
    return this.#names('sources');
  }

  views(): Promise<readonly string[]> {
    return this.#names('views');
  }

  async list(source: string, filter: LetterFilter, limit: number): Promise<ListedLetters> {
    const query = new URLSearchParams({ ...fieldsOf(filter), limit: String(limit) });
    const { letters, ...rest } = (await this.#get(`${pathOf(source)}?${query}`)) as Omit<
      ListedLetters,
      'letters'
    > & { readonly letters: readonly LetterReply[] };
    return { ...rest, letters: letters.map(summaryOf) };
  }

  async show(
    source: string,
    { partition, offset }: LetterOrigin,
    withValue: boolean,
  ): Promise<ShownLetter[]> {
    const path = `${pathOf(source)}/${partition}/${offset}${withValue ? '?value=true' : ''}`;
    const reply = await this.#ask(() => this.#client.get(path));
    if (errorCodeOf(reply) === 'unknown_dead_letter') return [];
    const { letters } = this.#bodyOf(reply) as { readonly letters: readonly WholeLetterReply[] };
    return letters.map(({ state, thrown, stamp, value, ...summary }) => ({
      ...summaryOf(summary),
      ...{ state, stamp },
      ...(thrown === null ? {} : { thrown }),
      value: typeof value === 'string' ? Buffer.from(value, 'base64') : null,
    }));
  }

  async replay(source: string, filter: LetterFilter, onProgress: (done: number) => void): Promise<Replayed> {
    const unreplayable = new Map<string, Unreplayable>();
    let replayed = 0;
    let before: number | null = null;
    for (;;) {
      const fields = { ...fieldsOf(filter), ...(before === null ? {} : { before }), limit: REPLAY_LIMIT };
      const reply = await this.#ask(() =>
        this.#client.post(`${pathOf(source)}/replay`, JSON.stringify(fields)),
      );
      const done = this.#bodyOf(reply) as ReplayReply;
      before ??= done.now + 1;
      replayed += done.replayed;
      for (const one of done.unreplayable) unreplayable.set(`${one.partition}/${one.offset}`, one);
      onProgress(done.replayed);
      if (done.remaining === 0 || done.replayed === 0) {
        return { replayed, unreplayable: [...unreplayable.values()] };
      }
    }
  }

  async discard(source: string, origins: readonly LetterOrigin[]): Promise<number> {
    const body = JSON.stringify({ origins: origins.map(originText) });
    const reply = await this.#ask(() => this.#client.post(`${pathOf(source)}/discard`, body));
    return (this.#bodyOf(reply) as { readonly discarded: number }).discarded;
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #names(of: 'sources' | 'views'): Promise<readonly string[]> {
    const catalogue = (await this.#get('/v1/catalog')) as Record<typeof of, readonly { name: string }[]>;
    return catalogue[of].map(({ name }) => name);
  }

  async #get(path: string): Promise<unknown> {
    return this.#bodyOf(await this.#ask(() => this.#client.get(path)));
  }

  async #ask(request: () => Promise<HttpReply>): Promise<HttpReply> {
    try {
      return await request();
    } catch (error) {
      throw error instanceof NoReplyError ? notListening(this.#client.url, error) : error;
    }
  }

  #bodyOf(reply: HttpReply): unknown {
    if (reply.status === 200) return reply.body;
    if (errorCodeOf(reply) !== 'not_found') throw new CliError(describeReply(reply));
    throw new CliError(
      `the process at ${this.#client.url} keeps no dead letters: over Kafka they are in topics, say where by --kafka`,
    );
  }
}

function summaryOf({ appended, written, value_bytes: valueBytes, ...letter }: LetterReply): LetterSummary {
  const appendedMs = appended === null ? 0 : Date.parse(appended);
  return { ...letter, appendedMs, writtenMs: Date.parse(written), valueBytes };
}

const pathOf = (source: string): string => `/v1/sources/${encodeURIComponent(source)}/dead-letters`;

const originText = ({ partition, offset }: LetterOrigin): string => `${partition}/${offset}`;

function fieldsOf({ reason, view, sinceMs, origins }: LetterFilter): Record<string, string> {
  return {
    ...(reason === undefined ? {} : { reason }),
    ...(view === undefined ? {} : { view }),
    ...(sinceMs === undefined ? {} : { since: String(sinceMs) }),
    ...(origins === undefined ? {} : { origins: origins.map(originText).join(',') }),
  };
}
