/** Pushes that have to be recorded: those refused for now are pushed again, which is safe as events have ids. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from 'undici';

const RETRY_MS = 50;
const GIVE_UP_MS = 60_000;

/** @param lines events as JSON @throws what else than a refusal is answered, and a refusal after a minute of them */
export async function pushEvents(pool: Pool, source: string, lines: readonly string[]): Promise<void> {
  const startedMs = performance.now();
  for (;;) {
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path: `/v1/sources/${source}/events`,
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.join('\n'),
    });
    const text = await body.text();
    if (statusCode === 200) return;
    const refused = statusCode === 429 || statusCode === 503;
    if (!refused || performance.now() - startedMs > GIVE_UP_MS) {
      throw new Error(`a push was answered ${statusCode}: ${text}`);
    }
    await delay(RETRY_MS);
  }
}
