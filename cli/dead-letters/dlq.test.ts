/** `millrace dlq` as it is typed, against a running engine. Its topics are tested in distributed/dead-letters.test.ts. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { mendableDefinitions } from '../../embedded/testing/mendable-repo.ts';
import { TestEngine } from '../../embedded/testing/test-engine.ts';
import { NOON_MS } from '../../embedded/testing/test-repo.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import { CliError } from '../cli-error.ts';
import { buildProgram } from '../main.ts';
import { parseOrigin } from './dlq-command.ts';

const swipe = (amount: number) => ({ at: NOON_MS, card: 'a-secret-card', amount });

let engine: TestEngine;
let url: string;
let out = '';

beforeEach(async () => {
  engine = await TestEngine.open({ repo: compileRepo(mendableDefinitions(true)) });
  url = await engine.engine.app.listen({ port: 0, host: '127.0.0.1' });
  await engine.push('swipes', [swipe(13), swipe(1), swipe(13)]);
  out = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += text;
    return true;
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  await engine.close();
});

async function dlq(...words: string[]): Promise<string> {
  out = '';
  await buildProgram().parseAsync(['node', 'millrace', 'dlq', ...words, '--url', url]);
  return out;
}

test('list names each letter and counts them by reason, without keys or values', async () => {
  const text = await dlq('list');
  expect(text).toMatch(/^ORIGIN +REASON +VIEW +WRITTEN +WHAT IS WRONG\n/);
  expect(text).toMatch(
    /swipes\/0\/0 +filter_or_projection +careful +2026-03-02T12:00:00.000Z +view careful, filter: it threw an error \(Error\)/,
  );
  expect(text).toMatch(/swipes\/0\/2 /);
  expect(text).toMatch(/\nswipes +filter_or_projection +2\n/);
  expect(text).not.toContain('secret');
  // What an error says may quote the record.
  expect(text).not.toContain('unlucky');
  expect(await dlq('list', '--json')).not.toContain('unlucky');
  expect(await dlq('list', '--limit', '1')).toContain('1 of 2 are shown');
  expect(JSON.parse(await dlq('list', '--json', '--view', 'careful'))).toMatchObject({
    sources: [{ source: 'swipes', total: 2, counts: { filter_or_projection: 2 } }],
  });
  expect(await dlq('list', '--reason', 'undecodable')).toBe('No dead letters.\n');
  expect(await dlq('list', '--since', '2026-03-02T12:00:00.001Z')).toBe('No dead letters.\n');
});

test('show has the record only where it is asked for', async () => {
  const text = await dlq('show', 'swipes/0/2');
  expect(text).toMatch(/reason +filter_or_projection\n/);
  expect(text).toMatch(
    /\nwhat is wrong +view careful, filter: it threw .*\nit threw +Error: an unlucky number\n/,
  );
  expect(text).not.toContain('secret');
  expect(await dlq('show', 'swipes/0/2', '--json')).not.toContain(
    Buffer.from('secret').toString('base64').slice(1, 6),
  );
  expect(await dlq('show', 'swipes/0/2', '--value')).toContain(JSON.stringify(swipe(13)));
});

test('replay says how many, appends them, and leaves nothing to be replayed', async () => {
  expect(await dlq('replay', '--dry-run')).toBe('2 dead letters would be replayed.\n');
  await engine.restart({ repo: compileRepo(mendableDefinitions(false)) });
  url = await engine.engine.app.listen({ port: 0, host: '127.0.0.1' });
  expect(await dlq('replay', '--source', 'swipes')).toMatch(/^2 records were appended again;/);
  expect(process.exitCode).toBe(0);
  expect(await dlq('replay')).toBe('There is nothing to replay.\n');
  expect(await dlq('replay', '--dry-run')).toBe('0 dead letters would be replayed.\n');
  await vi.waitFor(async () => {
    const { body } = await engine.read('swipes_of_card', { entities: { card: 'a-secret-card' } });
    expect(body.features.careful_ever).toBe(3);
  });
});

test('some are discarded, and some replayed, by their origins; all of them or none', async () => {
  const failure = async (...words: string[]): Promise<string> =>
    ((await dlq(...words).catch((thrown: unknown) => thrown as CliError)) as CliError).message;
  for (const action of ['discard', 'replay']) {
    expect(await failure(action, 'swipes/0/0', 'swipes/0/1')).toMatch(
      /^nothing was done: there is no open dead letter of swipes\/0\/1 \(/,
    );
    expect(await failure(action, 'none/0/0')).toBe('there is no source none; sources are swipes');
  }
  expect(await failure('replay', 'swipes/0/0', '--source', 'swipes')).toContain('leave out --source');
  expect(await dlq('replay', '--dry-run')).toMatch(/^2 dead letters /);
  expect(await dlq('replay', 'swipes/0/2', '--dry-run')).toMatch(/^1 dead letter /);

  expect(await dlq('discard', 'swipes/0/2', 'swipes/0/2')).toMatch(
    /^Discarded the dead letters of 1 record: /,
  );
  expect(await dlq('list')).not.toContain('swipes/0/2');
  expect(await dlq('show', 'swipes/0/2')).toMatch(/\nstate +discarded\n/);
  expect(await dlq('show', 'swipes/0/0')).toMatch(/\nstate +open\n/);
  expect(await failure('discard', 'swipes/0/2')).toContain('no open dead letter of swipes/0/2');

  await engine.restart({ repo: compileRepo(mendableDefinitions(false)) });
  url = await engine.engine.app.listen({ port: 0, host: '127.0.0.1' });
  expect(await dlq('list')).toMatch(/^swipes +filter_or_projection +1$/m);
  expect(await dlq('replay', 'swipes/0/0')).toMatch(/^1 record was appended again/);
  expect(await dlq('show', 'swipes/0/0')).toMatch(/\nstate +replayed\n/);
  expect(await dlq('list')).toBe('No dead letters.\n');
});

test('of a single one replay speaks in the singular', async () => {
  engine.clock.advanceTo(NOON_MS + 1_000);
  await engine.push('swipes', [swipe(13)]);
  const last = ['replay', '--since', '2026-03-02T12:00:01Z'];
  expect(await dlq(...last, '--dry-run')).toBe('1 dead letter would be replayed.\n');
  expect(await dlq(...last)).toMatch(/^1 record was appended again; if it still cannot be used/);
});

test('what is wrong is said in words', async () => {
  const failure = async (...words: string[]): Promise<string> => {
    const error: unknown = await dlq(...words).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CliError);
    return (error as CliError).message;
  };
  expect(await failure('list', '--source', 'none')).toBe('there is no source none; sources are swipes');
  for (const action of [['list'], ['list', '--json'], ['replay'], ['replay', '--dry-run']]) {
    expect(await failure(...action, '--view', 'none')).toMatch(/^there is no view none; views are \w+, \w+/);
  }
  expect(await failure('show', 'swipes/0/1')).toBe('there is no dead letter of swipes/0/1');
  expect(await failure('show', 'none/0/1')).toContain("there is no source 'none'");
  await engine.engine.app.close();
  expect(await failure('list')).toContain('no Millrace answers at');
  for (const text of ['swipes', 'swipes/0', 'swipes/0/-1', 'swi pes/0/1', 'swipes/0/1/2']) {
    expect(() => parseOrigin(text)).toThrow('SOURCE/PARTITION/OFFSET');
  }
});
