import { expect, test } from 'vitest';
import { ServerLives } from './server-lives.ts';

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const known = (lives: ServerLives, shard = 0): string => Buffer.from(lives.of(shard)).toString('hex');

test('a lost connection ends what is known, also what was asked for before it', () => {
  const lives = new ServerLives();
  const { epoch } = lives;
  lives.seen(0, bytes('01020304'), epoch);
  lives.seenIncarnation(1, 'a1b2c3d4e5:f6', epoch);
  expect([known(lives, 0), known(lives, 1)]).toEqual(['01020304', 'a1b2c3d4']);
  lives.connectionLost();
  lives.seen(0, bytes('01020304'), epoch);
  lives.seenIncarnation(1, 'a1b2c3d4e5:f6', epoch);
  expect([known(lives, 0), known(lives, 1)]).toEqual(['', '']);
});

test('what a script was told does not come back over what a server says of itself', () => {
  const lives = new ServerLives();
  lives.seenIncarnation(0, 'aaaaaaaa00:00', lives.epoch);
  // Behind a proxy that keeps the connection the server has started again.
  lives.seenIncarnation(0, 'bbbbbbbb00:00', lives.epoch);
  lives.seen(0, bytes('aaaaaaaa'), lives.epoch);
  expect(known(lives)).toBe('bbbbbbbb');
});
