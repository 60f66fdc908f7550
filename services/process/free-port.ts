import { createServer } from 'node:net';

/**
 * Below the ranges from which systems take the ports of outgoing connections (32768 and up on Linux, 49152 elsewhere):
 * a port from those could be taken by any connection while its server restarts.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** More than enough as long as most of the range is free. */
const TRIES_MAX = 200;

export const HOST = '127.0.0.1';

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: HOST, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * Different TCP ports of 127.0.0.1, from 20,000 to 32,000, on which nobody listens at this moment. Nothing keeps them
 * free: who starts a server on one must be ready to try again on another.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; tries < TRIES_MAX && ports.size < count; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  if (ports.size < count) throw new Error(`no ${count} free ports from ${FIRST_PORT} to ${LAST_PORT}`);
  return [...ports];
}
