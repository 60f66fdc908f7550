import { describe, expect, it } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { decodeEvent } from '../engine/definitions/decode-event.ts';
import * as cardFraud from '../examples/card-fraud/features.ts';
import * as loginVelocity from '../examples/login-velocity/features.ts';
import * as retail from '../examples/retail/features.ts';
import { sampleRequests } from './sample-request.ts';

const NOW_MS = Date.UTC(2024, 0, 2, 3, 4, 5);
const url = 'http://127.0.0.1:1';

/** What a shell makes of a printed line: the URL and the body. */
function parts(line: string): { path: string; body: Record<string, unknown> } {
  const [, path, body] = /^curl -sS 'http:\/\/127.0.0.1:1([^']+)' -H '[^']+' -d '(.*)'$/.exec(line)!;
  return { path: path!, body: JSON.parse(body!.replaceAll("'\\''", "'")) as Record<string, unknown> };
}

describe('the printed sample requests', () => {
  it.each([
    ['card-fraud', cardFraud],
    ['login-velocity', loginVelocity],
    ['retail', retail],
  ])('of examples/%s push an event of now and ask for its keys', (_, definitions) => {
    const repo = compileRepo(Object.values(definitions));
    const { push, read } = sampleRequests({ repo, url, nowMs: NOW_MS })!;
    const { path, body } = parts(push);
    const source = repo.sources.get(/sources\/(\w+)\/events\?wait=applied$/.exec(path)![1]!)!;
    const event = decodeEvent(source, { checkKeys: true })((body.events as unknown[])[0]);
    expect(event).toMatchObject({ ok: true, eventTimeMs: NOW_MS });
    const asked = parts(read!);
    const service = repo.services.get(/services\/(\w+)\/features$/.exec(asked.path)![1]!)!;
    expect(Object.keys(asked.body.entities as object)).toEqual(service.entities.map(({ name }) => name));
    for (const { view } of service.views) {
      const key = (asked.body.entities as Record<string, string>)[view.entity.name];
      expect(event.ok && view.keyOf(event.row)).toBe(key);
    }
  });

  it('look like a simulated event, but with an id and a time of their own', () => {
    const repo = compileRepo(Object.values(cardFraud));
    const data = {
      transaction_id: 5,
      tx_datetime: 'then',
      customer_id: 7,
      terminal_id: 8,
      tx_amount: 1.5,
      tx_fraud: 0,
    };
    const { push } = sampleRequests({
      repo,
      url,
      nowMs: NOW_MS,
      like: { source: 'card_transactions', data },
    })!;
    expect((parts(push).body.events as unknown[])[0]).toEqual({
      ...data,
      transaction_id: NOW_MS,
      tx_datetime: '2024-01-02T03:04:05.000Z',
    });
  });

  it('survive quotes in values', () => {
    const repo = compileRepo(Object.values(loginVelocity));
    const data = { user: "o'hara" };
    const { push } = sampleRequests({ repo, url, nowMs: NOW_MS, like: { source: 'ssh_logins', data } })!;
    expect((parts(push).body.events as { user: string }[])[0]!.user).toBe("o'hara");
  });
});
