import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import {
  openSchemaRegistry,
  type RegistryOptions,
  RegistryRefusalError,
  RegistryUnavailableError,
  type SchemaRegistry,
} from './schema-registry.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const cleanUps: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A server whose answers are given by path; others get a registry's 404. */
async function serve(answers: Readonly<Record<string, Answer>>): Promise<{ url: string; paths: string[] }> {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    const path = `${request.method} ${request.url!.split('?')[0]}`;
    paths.push(path);
    (answers[path] ?? json(404, { error_code: 40403, message: 'Schema not found' }))(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, paths };
}

const json =
  (status: number, body: unknown): Answer =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };

async function open(options: RegistryOptions): Promise<SchemaRegistry> {
  const registry = await openSchemaRegistry(options);
  cleanUps.push(() => registry.close());
  return registry;
}

const SCHEMA = { schema: '"string"' };

describe('schemas by id', () => {
  test('an Avro schema comes without a type, and is asked for once', async () => {
    const { url, paths } = await serve({ 'GET /schemas/ids/1': json(200, SCHEMA) });
    const registry = await open({ urls: [url] });
    const expected = { type: 'AVRO', schema: '"string"', references: [], readRules: [] };
    expect(await registry.schemaById(1)).toEqual(expected);
    expect(await registry.schemaById(1)).toEqual(expected);
    expect(paths).toEqual(['GET /schemas/ids/1']);
  });

  test('references come in the order in which they can be read, each once', async () => {
    const reference = (name: string) => ({ name, subject: name, version: 1 });
    const { url } = await serve({
      'GET /schemas/ids/1': json(200, {
        schemaType: 'PROTOBUF',
        schema: 'main',
        references: [reference('a'), reference('b')],
      }),
      'GET /subjects/a/versions/1': json(200, { schema: 'A', references: [reference('c')] }),
      'GET /subjects/b/versions/1': json(200, { schema: 'B', references: [reference('c'), reference('a')] }),
      'GET /subjects/c/versions/1': json(200, { schema: 'C' }),
    });
    const registry = await open({ urls: [url] });
    expect(await registry.schemaById(1)).toEqual({
      type: 'PROTOBUF',
      schema: 'main',
      references: ['C', 'A', 'B'],
      readRules: [],
    });
  });

  test('rules that change what is read are told from those that only check or write', async () => {
    const rule = (type: string, more: object) => ({
      name: type,
      type,
      kind: 'TRANSFORM',
      mode: 'WRITEREAD',
      ...more,
    });
    const ruleSet = {
      domainRules: [
        rule('ENCRYPT', {}),
        rule('CEL', { kind: 'CONDITION' }),
        rule('CEL_FIELD', { mode: 'WRITE' }),
        rule('JSONATA', { mode: 'READ' }),
        rule('OFF', { disabled: true }),
      ],
      encodingRules: [rule('ENCRYPT_PAYLOAD', {})],
    };
    const { url } = await serve({ 'GET /schemas/ids/1': json(200, { ...SCHEMA, ruleSet }) });
    const registry = await open({ urls: [url] });
    expect((await registry.schemaById(1))!.readRules).toEqual(['ENCRYPT', 'JSONATA', 'ENCRYPT_PAYLOAD']);
  });

  test('an id that the registry says it does not know is null', async () => {
    const { url } = await serve({});
    const registry = await open({ urls: [url] });
    expect(await registry.schemaById(1)).toBeNull();
    expect(await registry.latest('nothing-value')).toBeNull();
  });
});

describe('what is retryable', () => {
  test.each<[string, Answer]>([
    ["a 404 that is not the registry's", (_, response) => response.writeHead(404).end('<html>')],
    ['a 404 of another service', json(404, { error: 'Not Found' })],
    // As Apicurio answers where /apis/ccompat/v7 was forgotten.
    ['a 404 in the shape of the registry’s', json(404, { error_code: 404, message: 'Not Found' })],
    ['a failure', json(500, { error_code: 50001, message: 'Error in the backend' })],
    ['no access', json(401, { error_code: 40101, message: 'Unauthorized' })],
    [
      'an answer that is cut off',
      (_, response) => response.writeHead(200, { 'content-length': '100' }).end('{'),
    ],
    ['a connection that ends', (request) => request.socket.destroy()],
  ])('%s', async (_, answer) => {
    const { url } = await serve({ 'GET /schemas/ids/1': answer });
    // Where the answer stops, the time limit is what ends it.
    const registry = await open({ urls: [url], timeoutMs: 500 });
    await expect(registry.schemaById(1)).rejects.toThrow(RegistryUnavailableError);
  });

  const html: Answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Please log in</html>');
  };

  test.each<[string, Answer]>([
    ['a login page', html],
    ['an empty object', json(200, {})],
    ['null', json(200, null)],
    ['a list', json(200, [])],
    ['an empty schema', json(200, { schema: '' })],
    ['a schema that is no text', json(200, { schema: { type: 'string' } })],
  ])('an answer with 200 that is not a registry’s, until it is: %s', async (_, answer) => {
    const answers: Record<string, Answer> = {
      'GET /schemas/ids/1': answer,
      'GET /subjects/s/versions/latest': answer,
      'GET /schemas/ids/2': json(200, { ...SCHEMA, references: [{ name: 'a', subject: 'a', version: 1 }] }),
      'GET /subjects/a/versions/1': answer,
    };
    const { url } = await serve(answers);
    const registry = await open({ urls: [url] });
    await expect(registry.schemaById(1)).rejects.toThrow(RegistryUnavailableError);
    await expect(registry.latest('s')).rejects.toThrow(RegistryUnavailableError);
    await expect(registry.schemaById(2)).rejects.toThrow(/not a registry's/);
    for (const path of Object.keys(answers)) answers[path] = json(200, SCHEMA);
    expect(await registry.schemaById(1)).toMatchObject(SCHEMA);
    expect(await registry.latest('s')).toMatchObject(SCHEMA);
    expect(await registry.schemaById(2)).toMatchObject(SCHEMA);
  });

  test.each<[string, Answer]>([
    ['a login page', html],
    ['null', json(200, null)],
  ])('registering and checking through what is no registry: %s', async (_, answer) => {
    const { url } = await serve({
      'POST /subjects/s/versions': answer,
      'POST /compatibility/subjects/s/versions/latest': answer,
    });
    const registry = await open({ urls: [url] });
    const schema = { type: 'AVRO', schema: '"int"' } as const;
    await expect(registry.register('s', schema)).rejects.toThrow(RegistryUnavailableError);
    await expect(registry.isCompatible('s', schema)).rejects.toThrow(RegistryUnavailableError);
  });

  test('nobody listens', async () => {
    const registry = await open({ urls: ['http://127.0.0.1:1'] });
    await expect(registry.schemaById(1)).rejects.toThrow(RegistryUnavailableError);
  });

  test('no answer, or one that never ends; later questions do not wait for it', async () => {
    let asked = 0;
    const { url } = await serve({
      'GET /schemas/ids/1': (_, response) => {
        if (++asked === 1) return;
        response.writeHead(200);
        const drip = setInterval(() => response.write(' '), 10);
        response.on('close', () => clearInterval(drip));
      },
      'GET /schemas/ids/2': json(200, SCHEMA),
    });
    const registry = await open({ urls: [url], timeoutMs: 250 });
    await expect(registry.schemaById(1)).rejects.toThrow(/timeout/);
    await expect(registry.schemaById(1)).rejects.toThrow(/did not answer within/);
    expect(await registry.schemaById(2)).toMatchObject({ type: 'AVRO' });
  });

  test('a reference that is not there yet', async () => {
    const references = [{ name: 'a', subject: 'a', version: 1 }];
    const { url } = await serve({ 'GET /schemas/ids/1': json(200, { ...SCHEMA, references }) });
    const registry = await open({ urls: [url] });
    await expect(registry.schemaById(1)).rejects.toThrow('version 1 of a');
  });
});

test('a path that leads nowhere says so to every question, and names the setting', async () => {
  const wrong = json(404, { error_code: 404, message: 'RESTEASY003210: Could not find resource' });
  const { url } = await serve({
    'GET /schemas/ids/1': wrong,
    'GET /subjects/s-value/versions/latest': wrong,
    'POST /compatibility/subjects/s-value/versions/latest': wrong,
    'POST /subjects/s-value/versions': wrong,
  });
  const registry = await open({ urls: [url] });
  const schema = { type: 'AVRO', schema: '"int"' } as const;
  for (const question of [
    () => registry.schemaById(1),
    () => registry.latest('s-value'),
    () => registry.isCompatible('s-value', schema),
    () => registry.register('s-value', schema),
  ]) {
    await expect(question()).rejects.toThrow(/cannot be used: .*check the path of --registry/);
  }
});

test('another URL is tried where one does not answer', async () => {
  const { url } = await serve({ 'GET /schemas/ids/1': json(200, SCHEMA) });
  const registry = await open({ urls: ['http://127.0.0.1:1', url] });
  expect(await registry.schemaById(1)).toMatchObject({ type: 'AVRO' });
});

test.each<[string, Partial<RegistryOptions>, string | undefined]>([
  ['nobody', {}, undefined],
  [
    'user and password',
    { username: 'ada', password: 'p:w' },
    `Basic ${Buffer.from('ada:p:w').toString('base64')}`,
  ],
  ['a token', { token: 'abc' }, 'Bearer abc'],
])('requests are made as %s', async (_, options, expected) => {
  let authorization: string | undefined;
  const { url } = await serve({
    'GET /schemas/ids/1': (request, response) => {
      authorization = request.headers.authorization;
      json(200, SCHEMA)(request, response);
    },
  });
  await (await open({ urls: [url], ...options })).schemaById(1);
  expect(authorization).toBe(expected);
});

describe('registering', () => {
  const schema = { type: 'AVRO', schema: '"int"' } as const;

  test('gives id and version, also where the registry answers with the id alone', async () => {
    const { url } = await serve({
      'POST /subjects/new-value/versions': json(200, { id: 5, version: 2 }),
      'POST /subjects/old-value/versions': json(200, { id: 6 }),
      'POST /subjects/old-value': json(200, { id: 6, version: 3, subject: 'old-value', schema: '"int"' }),
    });
    const registry = await open({ urls: [url] });
    expect(await registry.register('new-value', schema)).toEqual({ id: 5, version: 2 });
    expect(await registry.register('old-value', schema)).toEqual({ id: 6, version: 3 });
  });

  test.each([
    [409, { error_code: 409, message: 'it is not compatible' }],
    [422, { error_code: 42201, message: 'it is not compatible' }],
  ])('%i is a refusal, with its reason', async (status, body) => {
    const { url } = await serve({ 'POST /subjects/s-value/versions': json(status, body) });
    const registry = await open({ urls: [url] });
    await expect(registry.register('s-value', schema)).rejects.toThrow(RegistryRefusalError);
    await expect(registry.register('s-value', schema)).rejects.toThrow('it is not compatible');
  });

  test('a subject without versions is compatible with anything', async () => {
    const { url } = await serve({
      'POST /compatibility/subjects/a-value/versions/latest': json(200, { is_compatible: false }),
      'POST /compatibility/subjects/b-value/versions/latest': json(200, { is_compatible: true }),
    });
    const registry = await open({ urls: [url] });
    expect(await registry.isCompatible('a-value', schema)).toBe(false);
    expect(await registry.isCompatible('b-value', schema)).toBe(true);
    expect(await registry.isCompatible('c-value', schema)).toBe(true);
  });
});

test('mock:// is a registry in memory', async () => {
  const registry = await open({ urls: ['mock://test'] });
  expect(await registry.schemaById(1)).toBeNull();
  const registered = await registry.register('s-value', { type: 'JSON', schema: '{}' });
  expect(registered).toEqual({ id: 1, version: 1 });
  expect(await registry.register('s-value', { type: 'JSON', schema: '{}' })).toEqual(registered);
  expect(await registry.schemaById(1)).toMatchObject({ type: 'JSON', schema: '{}' });
  expect(await registry.latest('s-value')).toMatchObject({ id: 1, version: 1 });
});
