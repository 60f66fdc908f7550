import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, urlOf } from './config.ts';
import { SETTINGS } from './settings.ts';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-config-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(content: unknown): string {
  const path = join(directory, 'config.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const load = (flags: Record<string, string | boolean> = {}, env: Record<string, string> = {}) =>
  loadConfig({ flags, env, cwd: '/work/dir' });

function problemsOf(flags: Record<string, string | boolean>, env: Record<string, string> = {}) {
  try {
    load(flags, env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  throw new Error('the configuration was accepted');
}

describe('configuration', () => {
  it('has a default for everything and is frozen', () => {
    const config = load();
    expect(config).toMatchObject({
      host: '127.0.0.1',
      port: 8787,
      dataDir: '/work/dir/.millrace',
      clock: 'wall',
      simulate: false,
      simulateRate: 20,
      url: 'http://127.0.0.1:8787',
    });
    expect(config.features).toMatch(/examples[\\/]card-fraud$/);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.keys(config).sort()).toEqual(SETTINGS.map(({ key }) => key).sort());
  });

  it('takes a flag over the environment over the file over the default', () => {
    const config = file({ port: 1, host: 'file', clock: 'event', simulate: true });
    const env = { MILLRACE_PORT: '2', MILLRACE_HOST: 'env', MILLRACE_CONFIG: config };
    expect(load({ port: '3', simulate: false }, env)).toMatchObject({
      port: 3,
      host: 'env',
      clock: 'event',
      simulate: false,
      logLevel: 'warn',
    });
  });

  it('takes relative paths from where they are written down', () => {
    const config = file({ features: 'f', dataDir: 'd' });
    expect(load({ config }).features).toBe(join(directory, 'f'));
    expect(load({ config }, { MILLRACE_DATA_DIR: 'e' }).dataDir).toBe('/work/dir/e');
    expect(load({ dataDir: '/abs' }).dataDir).toBe('/abs');
  });

  it('reports every problem at once, with the field and where it was given', () => {
    const config = file({ port: 'x', prot: 1, maxLogBytes: 5, simulate: 'yes' });
    const problems = problemsOf(
      { config, clock: 'moon', port: '65536' },
      { MILLRACE_PORT: '-1', MILLRACE_SIMULATE_RATE: '0', MILLRACE_TYPO: '1', MILLRACE_LOG_LEVEL: 'loud' },
    );
    expect(
      problems.map(({ field, origin }) => `${field} <- ${origin.replace(config, 'FILE')}`).sort(),
    ).toEqual([
      'MILLRACE_TYPO <- environment',
      'clock <- flag --clock',
      'logLevel <- environment variable MILLRACE_LOG_LEVEL',
      'maxLogBytes <- file FILE',
      'port <- environment variable MILLRACE_PORT',
      'port <- file FILE',
      'port <- flag --port',
      'prot <- file FILE',
      'simulate <- file FILE',
      'simulateRate <- environment variable MILLRACE_SIMULATE_RATE',
    ]);
    expect(problems.find(({ field }) => field === 'clock')!.message).toBe(
      'must be wall or event; it is "moon"',
    );
  });

  it.each([
    ['1.5', 'a fraction'],
    ['0x10', 'hexadecimal'],
    [' 80', 'blanks'],
    ['1e3', 'an exponent'],
    ['NaN', 'no number'],
  ])('refuses port %j: %s', (port) => {
    expect(problemsOf({ port })).toHaveLength(1);
  });

  it('takes an empty variable as not given', () => {
    expect(load({}, { MILLRACE_PORT: '', MILLRACE_CONFIG: '' }).port).toBe(8787);
  });

  it('reads sizes with units, also in the file', () => {
    expect(load({ maxLogBytes: '512MiB' }).maxLogBytes).toBe(512 * 2 ** 20);
    expect(load({}, { MILLRACE_MAX_LOG_BYTES: '2GB' }).maxLogBytes).toBe(2e9);
    expect(load({ config: file({ maxLogBytes: '1GiB' }) }).maxLogBytes).toBe(2 ** 30);
    expect(problemsOf({ maxLogBytes: '1MiB' })[0]!.message).toContain('from 16MiB');
    expect(problemsOf({ maxLogBytes: '99999999999TiB' })).toHaveLength(1);
  });

  it.each([
    ['{', 'is not JSON'],
    ['[]', 'must hold a JSON object'],
    ['{"__proto__": {"port": 1}}', 'is not JSON'],
  ])('refuses the file %s', (content, message) => {
    const config = file(content);
    expect(problemsOf({ config })[0]).toMatchObject({ field: 'config', origin: 'flag --config' });
    expect(problemsOf({ config })[0]!.message).toContain(message);
  });

  it('refuses an IPv6 address of Kafka, which its client would take for a host named [', () => {
    expect(load({ kafka: 'kafka-1:9092, 10.0.0.1:9093' }).kafka).toBe('kafka-1:9092, 10.0.0.1:9093');
    for (const kafka of ['[::1]:9092', 'kafka-1:9092,[2001:db8::1]:9092']) {
      expect(problemsOf({ kafka })[0]!.message).toContain('an IPv6 address needs a host name');
    }
  });

  it('says that a file is missing, and who named it', () => {
    const [problem] = problemsOf({}, { MILLRACE_CONFIG: 'nowhere.json' });
    expect(problem!.origin).toBe('environment variable MILLRACE_CONFIG');
    expect(problem!.message).toContain('/work/dir/nowhere.json cannot be read');
  });
});

describe('the URL of a server', () => {
  it('is one a client on this machine reaches', () => {
    expect(load({ port: '9000' }).url).toBe('http://127.0.0.1:9000');
    expect(urlOf('0.0.0.0', 1)).toBe('http://127.0.0.1:1');
    expect(urlOf('::', 1)).toBe('http://[::1]:1');
    expect(urlOf('fe80::1', 1)).toBe('http://[fe80::1]:1');
    expect(load({ port: '9000' }, { MILLRACE_URL: 'https://x.test/base' }).url).toBe('https://x.test/base');
    expect(problemsOf({}, { MILLRACE_URL: 'ftp://x' })).toHaveLength(1);
  });
});
