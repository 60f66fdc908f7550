/**
 * What producers and operators can do to a topic: records that nobody can use, records that are gone.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { describeWithServices } from '../services/index.ts';
import { linesOf, type ProducedRecord, type TestProcess, until } from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

describeWithServices(['kafka', 'redis'], 'records that cannot be used, or are not there', () => {
  const deployments = testDeployments();
  const { open } = deployments;
  const record = (columns: Readonly<Record<string, unknown>> = {}): ProducedRecord => ({
    value: JSON.stringify(payment(columns)),
  });
  const paymentsOf = async (serve: TestProcess): Promise<number> => {
    const { body } = await serve.read('card', { entities: { card: 'c1' } });
    return body.features.payments_ever;
  };
  const reasonsOf = async (process: TestProcess): Promise<string> => {
    const { status, body } = await process.get('/readyz');
    return status === 200 ? '' : body.error.details.reasons.join('\n');
  };

  test('dead letters have key, value and headers as they were, and say why and whence', async () => {
    const deployment = await open();
    const serve = await deployment.start(['serve']);
    const ingest = await deployment.start(['ingest']);
    const topic = deployment.topicOf('payments');
    const bytes = Buffer.from([255, 0, 13, 10, 128]);
    const bad: ProducedRecord[] = [
      { key: bytes, value: bytes, headers: { trace: ['one', 'two'], empty: '', binary: bytes } },
      {
        key: 'a key',
        value: JSON.stringify({ ...payment(), at: 'noon' }),
        headers: { 'millrace-reason': 'mine' },
      },
      { value: JSON.stringify(payment({ at: NOON_MS + DAY_MS })) },
      { value: JSON.stringify(payment({ amount: -5, shop: 's9' })) },
      { key: 'tombstone', value: null },
    ];
    await deployment.produce('payments', 1, [record(), ...bad, record()]);

    const letters = await deployment.consume(`${topic}.dead_letters`, bad.length);
    expect(letters).toHaveLength(bad.length);
    const why = [
      { reason: 'undecodable' },
      { reason: 'breaks_schema' },
      { reason: 'too_far_in_future' },
      { reason: 'filter_or_projection', view: 'shops' },
      { reason: 'undecodable' },
    ];
    const asBuffer = (value: Buffer | string | null | undefined) =>
      typeof value === 'string' ? Buffer.from(value) : (value ?? null);
    letters.forEach(({ key, value, headers, timestamp }, i) => {
      const { reason, view } = why[i]!;
      expect(key).toEqual(asBuffer(bad[i]!.key));
      expect(value).toEqual(asBuffer(bad[i]!.value));
      expect(Number(timestamp)).toBe(NOON_MS);
      const own = Object.entries(headers!)
        .filter(
          ([name]) => name.startsWith('millrace-') && !['millrace-message', 'millrace-thrown'].includes(name),
        )
        .map(([name, header]) => [name.slice('millrace-'.length), String([header].flat().at(-1))]);
      expect(Object.fromEntries(own)).toEqual({
        reason,
        source: 'payments',
        ...(view === undefined ? {} : { view }),
        topic,
        partition: '1',
        offset: String(i + 1),
        timestamp: String(NOON_MS),
      });
      expect(String(headers!['millrace-message'])).not.toBe('');
    });
    expect(letters[0]!.headers).toMatchObject({
      trace: [Buffer.from('one'), Buffer.from('two')],
      empty: Buffer.from(''),
      binary: bytes,
    });
    expect(letters[1]!.headers!['millrace-reason']).toEqual(
      ['mine', 'breaks_schema'].map((text) => Buffer.from(text)),
    );

    await serve.caughtUp();
    // The one whose projection threw counts in the other views.
    expect(await paymentsOf(serve)).toBe(3);
    const reasons = ['undecodable', 'breaks_schema', 'too_far_in_future', 'filter_or_projection'];
    const counts = () =>
      Promise.all(
        reasons.map((reason) => ingest.metric('millrace_dead_letters_total', { source: 'payments', reason })),
      );
    // A moment after the watermark has passed them, which is what others see.
    await until('they are counted', async () => (await counts()).some((letters) => letters > 0));
    expect(await counts()).toEqual([2, 1, 1, 1]);
    expect(await reasonsOf(ingest)).toBe('');
    expect(await ingest.metric('millrace_partition_paused', { source: 'payments' })).toBe(0);
  });

  /** What a registry would answer, at an address of its own. */
  const answering = async (answer: () => { status: number; body: unknown }): Promise<string> => {
    const server = createServer((_, response) => {
      const { status, body } = answer();
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const NO_SCHEMA = { status: 404, body: { error_code: 40403, message: 'none' } };

  test('records whose registry is asked at a wrong path wait, and are dead letters only at the right one', async () => {
    let wrong = true;
    const url = await answering(() => (wrong ? { status: 404, body: { error_code: 404 } } : NO_SCHEMA));
    const { logger, lines } = linesOf();
    const deployment = await open({ partitions: 1 });
    const ingest = await deployment.start(['ingest'], {
      registry: { urls: [url] },
      onLostSchema: 'continue',
      logger,
    });
    await deployment.produce('payments', 0, [{ value: Buffer.from([0, 0, 0, 0, 7, 1]) }]);
    await until('the partition is paused', async () => {
      return (await ingest.metric('millrace_partition_paused', { source: 'payments' })) === 1;
    });
    expect(await reasonsOf(ingest)).toMatch(/payments, partition 0: .*check the path of --registry/);
    expect(await ingest.metric('millrace_dead_letters_total')).toBe(0);
    expect(JSON.stringify(lines)).toMatch(/check the path of --registry.*until the registry can be used/);

    wrong = false;
    await until(
      'it is a dead letter',
      async () => (await ingest.metric('millrace_dead_letters_total', { reason: 'unknown_schema' })) === 1,
    );
    await until('it is ready', async () => (await reasonsOf(ingest)) === '');
    expect(lines).toContainEqual(
      expect.objectContaining({
        source: 'payments',
        reason: 'unknown_schema',
        letters: 1,
        partition: 0,
        offset: 0,
      }),
    );
  });

  test('a record that begins with a zero byte, where no registry is configured, is for the same setting', async () => {
    const deployment = await open({ partitions: 1 });
    const serve = await deployment.start(['serve']);
    const stopped = await deployment.start(['ingest']);
    await deployment.produce('payments', 0, [record(), { value: Buffer.from([0, 0, 0, 0, 7, 1]) }, record()]);
    await until('it says what is missing', async () => (await reasonsOf(stopped)) !== '');
    expect(await reasonsOf(stopped)).toMatch(
      /^source payments, partition 0: .*schema id \(7\).*--registry.*--on-lost-schema continue.*at offset 1$/,
    );
    await stopped.close();

    const ingest = await deployment.start(['ingest'], { onLostSchema: 'continue' });
    await serve.caughtUp();
    expect(await paymentsOf(serve)).toBe(2);
    expect(await ingest.metric('millrace_dead_letters_total', { reason: 'unknown_schema' })).toBe(1);
    expect(await reasonsOf(ingest)).toBe('');
  });

  test('a schema that the registry has lost stops its partition, loudly, until it is there again', async () => {
    let lost = true;
    const schema = JSON.stringify({
      ...{ type: 'record', name: 'Payment' },
      fields: ['id', 'at', 'card']
        .map((name) => ({ name, type: 'string' }))
        .concat([{ name: 'amount', type: 'double' }]),
    });
    const url = await answering(() => (lost ? NO_SCHEMA : { status: 200, body: { schema } }));
    const { logger, lines } = linesOf();
    const deployment = await open({ partitions: 1 });
    const serve = await deployment.start(['serve']);
    const ingest = await deployment.start(['ingest'], { registry: { urls: [url] }, logger });
    const text = (value: string): Buffer => Buffer.from([2 * value.length, ...Buffer.from(value)]);
    const amount = Buffer.alloc(8);
    amount.writeDoubleLE(2.5);
    const at = new Date(NOON_MS).toISOString();
    const value = Buffer.concat([Buffer.from([0, 0, 0, 0, 7]), ...['avro', at, 'c1'].map(text), amount]);
    await deployment.produce('payments', 0, [record(), { value }, record()]);

    const labels = { source: 'payments', partition: 0 };
    await until('it says what is missing', async () => {
      return (await ingest.metric('millrace_schemas_missing', labels)) === 1;
    });
    expect(await reasonsOf(ingest)).toMatch(
      /payments, partition 0: the schema registry does not have schema 7, .*--on-lost-schema continue/,
    );
    expect(await ingest.metric('millrace_partition_paused', labels)).toBe(1);
    expect(lines).toContainEqual(
      expect.objectContaining({ ...labels, reason: expect.stringContaining('does not have schema 7') }),
    );
    expect(await ingest.metric('millrace_dead_letters_total')).toBe(0);
    // What was before it counts; nothing behind it does: its values would be without it.
    expect(await paymentsOf(serve)).toBe(1);

    lost = false;
    await serve.caughtUp();
    expect(await paymentsOf(serve)).toBe(3);
    await until('it is ready', async () => (await reasonsOf(ingest)) === '');
    expect(await ingest.metric('millrace_schemas_missing', labels)).toBe(0);
    expect(await ingest.metric('millrace_dead_letters_total')).toBe(0);
  });

  /** Three records are applied, further ones are not; then all before an offset are deleted (-1: all). */
  const fallBehind = async ({ further, deletedBefore }: { further: number; deletedBefore: string }) => {
    const deployment = await open();
    const serve = await deployment.start(['serve']);
    const former = await deployment.start(['ingest']);
    await deployment.produce('payments', 0, [record(), record(), record()]);
    await until('they are applied', async () => (await paymentsOf(serve)) === 3);
    await former.close();
    await deployment.produce(
      'payments',
      0,
      Array.from({ length: further }, () => record()),
    );
    await deployment.admin.deleteTopicRecords({
      topic: deployment.topicOf('payments'),
      partitions: [{ partition: 0, offset: deletedBefore }],
    });
    return { deployment, serve };
  };

  test('records that retention took before they were applied are counted as a gap', async () => {
    const { deployment, serve } = await fallBehind({ further: 10, deletedBefore: '8' });
    const ingest = await deployment.start(['ingest']);
    await until('the rest is applied', async () => (await paymentsOf(serve)) === 3 + 5);
    expect(await ingest.metric('millrace_log_gap_records_total', { source: 'payments' })).toBe(5);
    await serve.caughtUp();
    expect(await reasonsOf(ingest)).toBe('');
    await ingest.close();

    // Who comes later says so as well, and so does who only serves.
    const next = await deployment.start(['ingest']);
    const at = new Date(NOON_MS).toISOString();
    for (const process of [next, serve]) {
      const labels = { source: 'payments', partition: 0 };
      expect(await process.metric('millrace_log_gaps_open', labels)).toBe(1);
      const { status, body } = await process.get('/readyz');
      expect(status).toBe(200);
      expect(body.warnings[0]).toBe(
        `source payments, partition 0: records 3 to 7, appended before ${at}, were gone before they were applied; ` +
          'windows of spend, refusals, shops may lack them, until none reaches back so far, or: ' +
          'millrace gaps acknowledge payments',
      );
      // Windows without an end would reach it also in a store that is filled again.
      const more =
        process === serve ? [] : [expect.stringMatching(/its log has lost records in partition 0 /)];
      expect(body.warnings.slice(1)).toEqual(more);
    }
    const read = async (atMs?: number) => {
      const asked = { entities: { card: 'c1' }, metadata: true, ...(atMs === undefined ? {} : { at: atMs }) };
      return (await serve.read('card', asked)).body.metadata.features;
    };
    const missing = { after: at, until: at };
    expect((await read()).payments_1h).toMatchObject({ status: 'catching_up', missing });
    expect((await read()).payments_ever).toMatchObject({ status: 'catching_up', missing });

    // No window of an hour reaches back to it any more; the one without an end always does.
    deployment.clock.advanceTo(NOON_MS + 3 * 60 * MINUTE_MS);
    await serve.push('payments', [payment({ at: deployment.clock.nowMs() })]);
    // The hours that the clock was moved by are hours without a look at the watermarks.
    await until('it has looked again', async () => (await read()).payments_1h.status === 'present');
    const later = await read();
    expect(later.payments_1h).toEqual({ status: 'present', window: expect.anything() });
    expect(later.amount_max_1d).toMatchObject({ status: 'catching_up', missing });
    expect(later.payments_ever).toMatchObject({ status: 'catching_up', missing });

    // Somebody decides that it does not matter: for every process, and for who comes later.
    const answer = await serve.post('/v1/gaps/acknowledge', { source: 'payments' });
    expect(answer).toMatchObject({ status: 200, body: { acknowledged: 1 } });
    await until('the other process sees it', async () => {
      return (await next.metric('millrace_log_gaps_open', { source: 'payments' })) === 0;
    });
    await serve.push('payments', [payment({ at: deployment.clock.nowMs() })]);
    expect((await read()).payments_ever).toEqual({ status: 'present', window: expect.anything() });
    expect(await paymentsOf(serve)).toBe(3 + 5 + 2);
    expect((await serve.get('/v1/gaps')).body).toEqual({ gaps: [] });
  });

  test('a gap stops its partition where the settings say so, until they say otherwise', async () => {
    const { deployment, serve } = await fallBehind({ further: 10, deletedBefore: '8' });
    const stopped = await deployment.start(['ingest'], { consumer: { onGap: 'stop' } });
    await until('it stops', async () => (await reasonsOf(stopped)) !== '');
    expect(await reasonsOf(stopped)).toMatch(
      /^source payments, partition 0: records 3 to 7 of source payments.*--on-gap continue/,
    );
    expect(await stopped.metric('millrace_partition_paused', { source: 'payments', partition: 0 })).toBe(1);
    expect(await paymentsOf(serve)).toBe(3);
    await stopped.close();
    await deployment.start(['ingest']);
    await until('the rest is applied', async () => (await paymentsOf(serve)) === 3 + 5);
  });

  test('a store that is filled from a topic without its beginning says what it lacks', async () => {
    const { deployment, serve } = await fallBehind({ further: 0, deletedBefore: '2' });
    const both = await deployment.start(['ingest', 'serve'], {
      redis: { nodes: deployments.redis.url, prefix: `new-${deployment.id.slice(0, 8)}` },
      group: `test-${deployment.id}-new`,
    });
    await both.caughtUp();
    const { body } = await both.read('card', { entities: { card: 'c1' }, metadata: true });
    expect(body.features.payments_ever).toBe(1);
    const at = new Date(NOON_MS).toISOString();
    expect(body.metadata.features.payments_ever).toMatchObject({
      ...{ status: 'catching_up', missing: { after: null, until: at } },
    });
    expect(await both.metric('millrace_log_gap_records_total', { source: 'payments' })).toBe(2);
    expect(await paymentsOf(serve)).toBe(3);
  });

  test('a gap that nothing follows is closed: the lag is 0, and who comes later does not count it again', async () => {
    const { deployment, serve } = await fallBehind({ further: 4, deletedBefore: '-1' });
    await until('the lag shows', async () => (await serve.metric('millrace_consumer_lag_records')) === 4);
    const ingest = await deployment.start(['ingest']);
    await serve.caughtUp();
    expect(await ingest.metric('millrace_log_gap_records_total', { source: 'payments' })).toBe(4);
    await ingest.close();
    const next = await deployment.start(['ingest']);
    await deployment.produce('payments', 0, [record()]);
    await until('the rest is applied', async () => (await paymentsOf(serve)) === 4);
    expect(await next.metric('millrace_log_gap_records_total', { source: 'payments' })).toBe(0);
  });
});
