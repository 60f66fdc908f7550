/** A backfill of an embedded engine: the history is read here, and the engine keeps the states it is sent. */
import { setTimeout as delay } from 'node:timers/promises';
import type { BackfillSink } from '../../distributed/backfill.ts';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import type { BackfilledState, HistoryPosition } from '../../roles/backfill.ts';
import type { RebuildLook } from '../../roles/view-rebuild.ts';
import { CliError } from '../cli-error.ts';
import {
  describeReply,
  errorCodeOf,
  HttpClient,
  type HttpReply,
  NoReplyError,
  notListening,
} from '../http-client.ts';

export type BackfillFill = (sink: BackfillSink, signal: AbortSignal) => Promise<void>;

export interface RemoteBackfillOptions {
  /** Of the engine. */
  readonly url: string;
  readonly view: CompiledView;
  readonly positions: readonly HistoryPosition[] | null;
  /** What tells a history without positions from another one. */
  readonly history: string;
  readonly acceptGap: boolean;
  readonly fill: BackfillFill;
  readonly onBegun: (resumed: boolean) => void;
  readonly onLook: (look: RebuildLook) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** Of the replies only what is needed here. */
interface Terms {
  readonly namespace: string;
  readonly cut: readonly number[];
  readonly now_ms: number;
  readonly resumed: boolean;
  readonly open: boolean;
}

interface Status {
  readonly state: RebuildLook['state'] | 'none' | 'failed';
  readonly applied_records: number;
  readonly total_records: number;
  readonly reason: string | null;
}

/** What was written does not count any more. */
class LostError extends Error {}

const ASK_EVERY_MS = 200;
const TRY_AGAIN_MS = 1_000;

/** Resolves as `backfillView` does. @throws CliError */
export async function backfillRemotely(
  options: RemoteBackfillOptions,
  signal: AbortSignal,
): Promise<RebuildLook['state']> {
  const { url, view, positions, history, acceptGap, fill, onBegun, onLook, onTrouble } = options;
  const client = new HttpClient(url, { connections: 1 });
  const path = `/v1/views/${encodeURIComponent(view.name)}`;
  const bodyOf = (reply: HttpReply): unknown => {
    if (reply.status === 200) return reply.body;
    const code = errorCodeOf(reply);
    if (code === 'backfill_lost') throw new LostError(describeReply(reply));
    const hint = code === 'log_too_short' ? ' (--accept-gap fills it all the same)' : '';
    throw new CliError(describeReply(reply) + hint);
  };
  const send = async (what: string, body: object): Promise<unknown> =>
    bodyOf(await client.post(`${path}/backfill${what}`, JSON.stringify(body)));
  const begin = async (): Promise<Terms> =>
    (await send('', {
      fingerprint: view.fingerprint,
      positions,
      history,
      accept_gap: acceptGap,
    })) as Terms;
  const sinkOf = ({ namespace, cut, now_ms: nowMs }: Terms): BackfillSink => ({
    ...{ cut, nowMs },
    write: async (states) => {
      const reply = await send('/states', { namespace, states: states.map(asJson) });
      return (reply as { written: number }).written;
    },
    complete: async (newestMs, unapplied) => {
      const ofPartitions = unapplied.map(({ fromOffset, ranges }) => ({ from: fromOffset, ranges }));
      await send('/complete', { namespace, newest_ms: newestMs, unapplied: ofPartitions });
    },
  });
  /** Until it is over, states are to be written, or the signal aborts. */
  const watch = async ({ namespace }: Terms): Promise<RebuildLook['state']> => {
    for (;;) {
      const status = bodyOf(await client.get(`${path}/backfill?namespace=${namespace}`)) as Status;
      const { state, applied_records: appliedRecords, total_records: totalRecords } = status;
      if (state === 'failed') {
        throw new CliError(
          `the backfill of view ${view.name} cannot go on: ${status.reason} (the same command tries again)`,
        );
      }
      if (state === 'none' || state === 'given_up') return 'given_up';
      onLook({ state, appliedRecords, totalRecords, nextOffsets: [], awaited: [] });
      if (state === 'switched' || state === 'backfilling' || signal.aborted) return state;
      await delay(ASK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  };
  let first = true;
  try {
    while (!signal.aborted) {
      const terms = await begin();
      if (first) onBegun(terms.resumed);
      first = false;
      if (terms.open) {
        try {
          await fill(sinkOf(terms), signal);
        } catch (error) {
          if (!(error instanceof LostError)) throw error;
          onTrouble(error);
          await delay(TRY_AGAIN_MS, undefined, { signal }).catch(() => {});
        }
      }
      // Given up by somebody it must not be begun anew; where the engine has lost it by being started again, it is.
      const state = await watch(terms);
      if (state !== 'backfilling') return state;
      // Completed a moment ago, and the engine has not looked since.
      await delay(ASK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
    return 'backfilling';
  } catch (error) {
    if (!(error instanceof NoReplyError)) throw error;
    if (first) throw notListening(url, error);
    throw new CliError(
      `the Millrace at ${url} does not answer any more (${error.message}). When it is started again, the same command goes on`,
      { cause: error },
    );
  } finally {
    await client.close();
  }
}

function asJson({ key, head, fields, dueMs }: BackfilledState): object {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return {
    key,
    head: base64(head),
    fields: Object.fromEntries([...fields].map(([name, bytes]) => [name, base64(bytes)])),
    due_ms: dueMs,
  };
}
