/** `millrace rebuild` of an embedded engine: its process makes it, this one watches. */
import { setTimeout as delay } from 'node:timers/promises';
import { CliError } from './cli-error.ts';
import { describeReply, errorCodeOf, HttpClient, NoReplyError, notListening } from './http-client.ts';
import { ACCEPT_GAP_HINT, beingBackfilled, type RebuildCommand } from './rebuild-command.ts';
import { describeDeadLetters, RebuildDisplay } from './rebuild-display.ts';
import type { Config } from './settings.ts';
import { shutdownOnSignals } from './shutdown.ts';

/** Of the reply only what is needed here. */
interface Status {
  readonly state: 'none' | 'backfilling' | 'filling' | 'joined' | 'switched' | 'given_up' | 'failed';
  readonly applied_records: number;
  readonly total_records: number;
  readonly dead_letters: number;
  readonly reason: string | null;
}

const ASK_EVERY_MS = 200;

/** Resolves with the exit code. */
export async function rebuildRemotely(config: Config, command: RebuildCommand): Promise<number> {
  const { view, abort, acceptGap } = command;
  let isWatching = false;
  const client = new HttpClient(config.url, { connections: 1 });
  const shutdown = shutdownOnSignals(() => {});
  const path = `/v1/views/${encodeURIComponent(view)}/rebuild`;
  const ask = async (method: 'get' | 'post' | 'delete', query = ''): Promise<Status> => {
    const reply = await (method === 'post' ? client.post(path + query, '') : client[method](path));
    if (reply.status !== 200) {
      const hint = errorCodeOf(reply) === 'log_too_short' ? ` ${ACCEPT_GAP_HINT}` : '';
      throw new CliError(describeReply(reply) + hint);
    }
    return reply.body as Status;
  };
  try {
    if (abort) {
      const before = await ask('get');
      if (!['backfilling', 'filling', 'joined', 'failed'].includes(before.state)) {
        throw new CliError(`no rebuild of view ${view} is under way`);
      }
      await ask('delete');
      process.stdout.write(
        `The rebuild of view ${view} was given up; compaction removes what it had filled.\n`,
      );
      return 0;
    }
    const display = new RebuildDisplay(process.stderr, () => performance.now());
    let status = await ask('post', acceptGap ? '?accept_gap=true' : '');
    isWatching = true;
    try {
      for (; !shutdown.signal.aborted; status = await ask('get')) {
        const { state, applied_records: appliedRecords, total_records: totalRecords } = status;
        if (state === 'failed') {
          throw new CliError(
            `the rebuild of view ${view} cannot go on: ${status.reason} (the same command tries again, with --accept-gap ` +
              'also where the log has lost records; --abort gives it up)',
          );
        }
        if (state === 'backfilling') throw new CliError(beingBackfilled(view));
        if (state === 'none' || state === 'given_up') {
          throw new CliError(`the rebuild of view ${view} was given up; the log of the server may say why`);
        }
        display.look({ state, appliedRecords, totalRecords, nextOffsets: [], awaited: [] });
        if (state === 'switched') break;
        await delay(ASK_EVERY_MS, undefined, { signal: shutdown.signal }).catch(() => {});
      }
    } finally {
      display.stop();
    }
    if (shutdown.signal.aborted) {
      process.stdout.write('It goes on in the server; the same command watches it, --abort gives it up.\n');
      return shutdown.signal.reason === 'SIGINT' ? 130 : 143;
    }
    const letters = describeDeadLetters(status.dead_letters);
    process.stdout.write(`View ${view} is read from its new state: ${display.summary()}.${letters}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof NoReplyError)) throw error;
    if (!isWatching) throw notListening(config.url, error);
    throw new CliError(
      `the Millrace at ${config.url} does not answer any more (${error.message}). When it is started again, the rebuild of ` +
        `view ${view} goes on by itself, and the same command watches it`,
      { cause: error },
    );
  } finally {
    shutdown.dispose();
    await client.close();
  }
}
