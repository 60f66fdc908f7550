import { describe, expect, it } from 'vitest';
import { type HttpReply, NoReplyError } from '../http-client.ts';
import { EventSender } from './event-sender.ts';
import type { ReplayEvent } from './read-events.ts';

const events = (from: number, to: number): ReplayEvent[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    ok: true,
    line: from + i,
    eventTimeMs: 0,
    json: `${from + i}`,
  }));

const reply = (status: number, body: unknown = {}): HttpReply => ({ status, body, retryAfterSeconds: null });
const taken = (accepted: number, rejected: unknown[] = []): HttpReply =>
  reply(200, { accepted, duplicates: 0, rejected });

/** A sender whose clock moves only by its own pauses. */
function sender(
  post: (path: string, body: string) => Promise<HttpReply>,
  options: { hasEventId?: boolean } = {},
) {
  let nowMs = 0;
  const pauses: number[] = [];
  const made = new EventSender({
    client: { post },
    source: 's/x',
    hasEventId: options.hasEventId ?? true,
    maxInFlight: 2,
    retryForMs: 10_000,
    sleep: async (durationMs) => {
      pauses.push(durationMs);
      nowMs += durationMs;
    },
    nowMs: () => nowMs,
  });
  return { made, pauses };
}

const lostConnection = () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });

describe('sending events', () => {
  it('adds up replies and names rejected lines', async () => {
    const bodies: string[] = [];
    const { made } = sender(async (path, body) => {
      expect(path).toBe('/v1/sources/s%2Fx/events');
      bodies.push(body);
      return taken(1, [{ index: 1, code: 'wrong_type', column: 'a', message: 'm' }]);
    });
    await made.send(events(10, 11));
    await made.finish();
    expect(bodies).toEqual(['{"events":[10,11]}']);
    expect(made.totals).toMatchObject({ accepted: 1, duplicates: 0, rejected: 1 });
    expect(made.totals.rejections[0]).toMatchObject({ line: 11, code: 'wrong_type' });
  });

  it('has at most the given number of requests under way', async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    let underWay = 0;
    const { made } = sender(async () => {
      most = Math.max(most, ++underWay);
      await new Promise<void>((resolve) => waiting.push(resolve));
      underWay--;
      return taken(1);
    });
    await made.send(events(1, 1));
    const second = made.send(events(2, 2)).then(() => 'room');
    expect(await Promise.race([second, Promise.resolve('full')])).toBe('full');
    waiting.shift()!();
    expect(await second).toBe('room');
    const finished = made.finish();
    waiting.shift()!();
    await finished;
    expect(most).toBe(2);
  });

  it('tries refusals for now and lost connections again, with growing pauses, then goes on', async () => {
    const replies: (() => HttpReply)[] = [
      () => reply(429),
      () => reply(503),
      () => ({ ...reply(503), retryAfterSeconds: 1 }),
      () => {
        throw new NoReplyError(lostConnection());
      },
      () => taken(1),
    ];
    const { made, pauses } = sender(async () => replies.shift()!());
    await made.send(events(1, 1));
    await made.finish();
    expect(pauses).toEqual([100, 200, 1000, 800]);
    expect(made.totals.accepted).toBe(1);
  });

  it('gives a batch up after a bounded time, naming its lines and the reason', async () => {
    const { made } = sender(async () => reply(503, { error: { code: 'log_full', message: 'no room' } }));
    await made.send(events(7, 9));
    await expect(made.finish()).rejects.toThrow(
      'lines 7 to 9 not taken within 10 s: no room (log_full, HTTP 503)',
    );
  });

  it('does not send events without ids again when they may have arrived', async () => {
    let posts = 0;
    const { made } = sender(
      async () => {
        posts++;
        throw new NoReplyError(lostConnection());
      },
      { hasEventId: false },
    );
    await made.send(events(1, 2));
    await expect(made.finish()).rejects.toThrow(/may or may not be recorded/);
    expect(posts).toBe(1);
  });

  it('sends events without ids again when nobody listened', async () => {
    let posts = 0;
    const { made } = sender(
      async () => {
        if (++posts === 1)
          throw new NoReplyError(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
        return taken(2);
      },
      { hasEventId: false },
    );
    await made.send(events(1, 2));
    await made.finish();
    expect(posts).toBe(2);
  });

  it('halves a batch that is too large', async () => {
    const bodies: string[] = [];
    const { made } = sender(async (_, body) => {
      bodies.push(body);
      const { length } = (JSON.parse(body) as { events: unknown[] }).events;
      return length > 1 ? reply(413) : taken(1);
    });
    await made.send(events(1, 3));
    await made.finish();
    expect(made.totals.accepted).toBe(3);
    expect(bodies.at(-1)).toBe('{"events":[3]}');
  });

  it('takes 422 as an answer and stops at any other error', async () => {
    const all = { accepted: 0, duplicates: 0, rejected: [{ index: 0, code: 'c', message: 'm' }] };
    const { made } = sender(async () => reply(422, all));
    await made.send(events(1, 1));
    await made.finish();
    expect(made.totals.rejected).toBe(1);
    const { made: other } = sender(async () =>
      reply(404, { error: { code: 'unknown_source', message: 'no' } }),
    );
    await other.send(events(1, 1));
    await expect(other.finish()).rejects.toThrow('no (unknown_source, HTTP 404)');
  });

  it('keeps the first ten rejections only', () => {
    const { made } = sender(async () => taken(0));
    for (let line = 1; line <= 30; line++)
      made.reject({ ok: false, line, code: 'c', column: null, message: 'm' });
    expect(made.totals.rejected).toBe(30);
    expect(made.totals.rejections.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});
