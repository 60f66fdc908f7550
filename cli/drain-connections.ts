/**
 * Lets a closing HTTP server end. Node closes idle connections once, when it is told to close; one that answers
 * its last request after that stays open until its keep-alive timeout, over a minute, and the server with it.
 */
import type { Server } from 'node:http';

const CHECK_EVERY_MS = 50;

/** Resolves with what `closing` does. Requests unfinished after `giveUpMs` are cut off. */
export async function drainConnections<T>(
  server: Pick<Server, 'closeIdleConnections' | 'closeAllConnections'>,
  closing: Promise<T>,
  giveUpMs: number,
): Promise<T> {
  const idle = setInterval(() => server.closeIdleConnections(), CHECK_EVERY_MS);
  const all = setTimeout(() => server.closeAllConnections(), giveUpMs);
  try {
    return await closing;
  } finally {
    clearInterval(idle);
    clearTimeout(all);
  }
}
