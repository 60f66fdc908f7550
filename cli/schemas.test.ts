import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import * as features from '../examples/retail/features.ts';
import { eventAvroSchema } from '../ingest/decoding/subject-schemas.ts';
import { CliError } from './cli-error.ts';
import { loadConfig } from './config.ts';
import { registryOptions } from './registry-options.ts';
import { type SchemasOptions, schemasAction } from './schemas.ts';
import type { SchemasAction } from './schemas-command.ts';

// Loading needs Node's module hooks, which do not work within the test runner; the built CLI is tested elsewhere.
vi.mock('./load-features.ts', () => ({
  loadFeatureRepo: async () => compileRepo(Object.values(features)),
}));

interface Version {
  readonly schemaType?: string;
  readonly schema: string;
}

/** A registry with what these tests need of Confluent's interface. */
class TinyRegistry {
  readonly subjects = new Map<string, Version[]>();
  compatible = true;
  #server: Server | null = null;

  async start(): Promise<string> {
    this.#server = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        const [status, answer] = this.#answer(request.method!, request.url!.split('?')[0]!, body);
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
      });
    });
    await new Promise<void>((resolve) => this.#server!.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server!.close(resolve));
  }

  #answer(method: string, path: string, body: string): [number, unknown] {
    const [, root, name, , version] = path.split('/');
    if (root === 'wrong') return [404, { error_code: 404, message: 'Could not find resource' }];
    if (root === 'compatibility') return [200, { is_compatible: this.compatible }];
    const versions = this.subjects.get(name!) ?? [];
    if (method === 'POST') {
      if (!this.compatible) return [409, { error_code: 409, message: 'amount was a number' }];
      const given = JSON.parse(body) as Version;
      let index = versions.findIndex(({ schema }) => schema === given.schema);
      if (index < 0) index = versions.push(given) - 1;
      this.subjects.set(name!, versions);
      return [200, { id: 100 + index, version: index + 1 }];
    }
    if (version === 'latest' && versions.length > 0) {
      return [
        200,
        { subject: name, id: 99 + versions.length, version: versions.length, ...versions.at(-1)! },
      ];
    }
    return [404, { error_code: 40401, message: 'Subject not found' }];
  }
}

const registry = new TinyRegistry();
let url: string;
let output: string;

beforeAll(async () => {
  url = await registry.start();
});
afterAll(() => registry.stop());
beforeEach(() => {
  registry.subjects.clear();
  registry.compatible = true;
  output = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    output += text;
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

const configWith = (flags: Record<string, string>) => loadConfig({ flags, env: {}, cwd: '/' });

async function run(
  action: SchemasAction,
  options: Partial<SchemasOptions> = {},
  flags: Record<string, string> = { registry: url },
): Promise<number> {
  return schemasAction(action, configWith(flags), {
    format: null,
    source: null,
    subjectSuffix: '-value',
    requireRegistered: false,
    ...options,
  });
}

describe('print', () => {
  test.each([
    ['avro', '"type": "record"'],
    ['json', '"$schema"'],
    ['protobuf', 'message retail_lines {'],
  ] as const)('%s, without a registry', async (format, part) => {
    expect(await run('print', { format }, {})).toBe(0);
    expect(output).toContain(part);
  });
});

describe('register', () => {
  test('prints id and version, the same when repeated', async () => {
    expect(await run('register', { format: 'protobuf', subjectSuffix: '-v' })).toBe(0);
    expect(await run('register', { format: 'protobuf', subjectSuffix: '-v' })).toBe(0);
    expect(output).toBe('retail_lines-v: id 100, version 1\n'.repeat(2));
    expect(registry.subjects.get('retail_lines-v')).toMatchObject([{ schemaType: 'PROTOBUF' }]);
  });

  test('leaves a subject alone that holds another format', async () => {
    await run('register');
    expect(await run('register', { format: 'protobuf' })).toBe(1);
    expect(output).toMatch(
      /retail_lines-value: refused: it holds AVRO schemas, not PROTOBUF.*--subject-suffix/,
    );
    expect(registry.subjects.get('retail_lines-value')).toHaveLength(1);
    expect(await run('register', { format: 'protobuf', subjectSuffix: '-proto' })).toBe(0);
  });

  test('says why the registry refuses', async () => {
    registry.compatible = false;
    expect(await run('register')).toBe(1);
    expect(output).toContain('retail_lines-value: refused: amount was a number');
  });
});

describe('check', () => {
  const { columns } = features.retailLines;
  const register = (schema: unknown, schemaType = 'AVRO'): void => {
    registry.subjects.set('retail_lines-value', [
      { schemaType, schema: typeof schema === 'string' ? schema : JSON.stringify(schema) },
    ]);
  };

  test("a source's own schema is readable", async () => {
    await run('register');
    output = '';
    expect(await run('check')).toBe(0);
    expect(output).toBe(
      'retail_lines-value: AVRO, id 100, version 1\n' +
        '  readable: every column\n' +
        "  compatible: the source's schema can be registered\n",
    );
  });

  test('a subject that is not there is said; whether it is trouble is asked', async () => {
    expect(await run('check')).toBe(0);
    expect(output).toBe('retail_lines-value: not found, so nothing was compared\n');
    expect(await run('check', { requireRegistered: true })).toBe(1);
    await run('register');
    expect(await run('check', { requireRegistered: true })).toBe(0);
  });

  test('an address with the wrong path is no registry', async () => {
    const flags = { registry: `${url}/wrong` };
    for (const action of ['check', 'register'] as const) {
      await expect(run(action, {}, flags)).rejects.toThrow(CliError);
      await expect(run(action, {}, flags)).rejects.toThrow('check the path of --registry');
    }
  });

  test('what does not fit is listed by column', async () => {
    const { country: _, ...rest } = columns;
    const schema = eventAvroSchema({ ...features.retailLines, columns: rest } as never) as {
      fields: { name: string; type: unknown }[];
    };
    for (const field of schema.fields) {
      if (field.name === 'quantity') field.type = 'string';
      if (field.name === 'unit_price') field.type = ['null', 'double'];
    }
    register(schema);
    expect(await run('check')).toBe(1);
    expect(output).toContain(
      "  not readable: column 'country' is not nullable and not in the writer's schema\n",
    );
    expect(output).toContain(
      "  not readable: column 'quantity' must be an integer; in the writer's schema it is string\n",
    );
    expect(output).toContain(
      "  readable in part: column 'unit_price' is not nullable; in the writer's schema it may be null\n",
    );
  });

  test.each([
    ['XML', '<a/>', 'is of type XML'],
    ['AVRO', '"string"', 'not a record'],
  ])('a schema that cannot be used (%s)', async (type, schema, message) => {
    register(schema, type);
    expect(await run('check')).toBe(1);
    expect(output).toContain('  not readable: the schema ');
    expect(output).toContain(message);
  });

  test('a schema that could not be registered', async () => {
    await run('register');
    registry.compatible = false;
    expect(await run('check')).toBe(1);
    expect(output).toContain("  not compatible: the registry would refuse the source's avro schema\n");
  });
});

describe('problems', () => {
  test.each([
    ['no registry', {}, {}, 'the schema registry is missing: --registry URL'],
    ['nobody listens', {}, { registry: 'http://127.0.0.1:1' }, 'the schema registry cannot be used'],
    ['no such source', { source: 'x' }, {}, 'there is no source x; sources are retail_lines'],
  ])('%s', async (_, options, flags, message) => {
    await expect(run('check', options, flags)).rejects.toThrow(CliError);
    await expect(run('check', options, flags)).rejects.toThrow(message);
  });
});

describe('the registry of a configuration', () => {
  test('none', () => {
    expect(registryOptions(configWith({}))).toBeNull();
  });

  test('several URLs and a user', () => {
    const flags = { registry: 'http://a:1, https://b', registryUsername: 'u', registryPassword: 'p' };
    expect(registryOptions(configWith(flags))).toMatchObject({
      urls: ['http://a:1', 'https://b'],
      username: 'u',
      password: 'p',
    });
  });

  test.each([
    [{ registryToken: 't', registryPassword: 'p' }, 'in place of|takes the place'],
    [{ registryCert: '/c' }, 'go together'],
    [{ registryCa: '/does/not/exist' }, 'registryCa: /does/not/exist cannot be read'],
  ])('%j', (flags, message) => {
    expect(() => registryOptions(configWith({ registry: 'http://a', ...flags }))).toThrow(
      new RegExp(message),
    );
  });
});
