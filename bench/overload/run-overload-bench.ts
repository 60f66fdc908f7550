/**
 * What overload does to `card_fraud` over HTTP, in one process over lmdb, with and without shedding. Of ten requests nine are
 * feature requests and one is a push of an event.
 *
 * 1. How many are answered per second in a closed loop; half of that is taken for sustainable.
 * 2. An open loop at that rate, at three times that rate, and at that rate again, right behind.
 * 3. How many refusals a second the server makes.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { textTable } from '../../cli/text-table.ts';
import { compose, type Embedded, openEmbedded } from '../../embedded/runtime.ts';
import { openMemoryStorage } from '../../embedded/storage.ts';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { DEADLINE_MAX_MS } from '../../engine/definitions/feature-service.ts';
import simulate, { type SimulatedEvent } from '../../examples/card-fraud/simulator.ts';
import type { AppLimits } from '../../serve/app.ts';
import { DEADLINE_HEADER } from '../../serve/deadline.ts';
import { formatUs } from '../report.ts';
import { Worker } from '../worker.ts';
import type { ClientAnswer, ClientOrder, ClientRequest, Outcome } from './overload-client.ts';

export interface OverloadBenchOptions {
  /** examples/card-fraud, compiled. */
  readonly repo: CompiledRepo;
  /** Events of the history. */
  readonly events: number;
  /** Measuring time of each step. */
  readonly seconds: number;
  readonly seed: number;
  readonly onProgress: (text: string) => void;
}

export interface OverloadRow {
  readonly step: string;
  readonly shedding: boolean;
  readonly offeredPerSecond: number;
  readonly seconds: number;
  readonly read: Outcome;
  readonly push: Outcome;
}

export interface OverloadReport {
  readonly sustainablePerSecond: number;
  readonly refusalsPerSecond: number;
  /** CPU time of the server's process. */
  readonly refusalCpuUs: number;
  readonly rows: readonly OverloadRow[];
  readonly environment: Readonly<Record<string, string | number>>;
}

const START_MS = Date.UTC(2025, 0, 1);
const HISTORY_DAYS = 60;
const DAY_MS = 86_400_000;
const CHUNK = 2_000;
const REQUESTS = 5_000;
const PUSH_EVERY = 10;
const CONNECTIONS = 16;
const SUSTAINABLE_SHARE = 1 / 2;
const READ = '/v1/services/card_fraud/features';
const PUSH = '/v1/sources/card_transactions/events';
const NO_SHEDDING: Partial<AppLimits> = {
  inFlight: Number.POSITIVE_INFINITY,
  targetDelayMs: Number.POSITIVE_INFINITY,
};

type Client = Worker<ClientOrder, ClientAnswer>;

export async function runOverloadBench(options: OverloadBenchOptions): Promise<OverloadReport> {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-overload-'));
  const client: Client = new Worker(new URL('./overload-client.ts', import.meta.url));
  try {
    const environment = {
      node: process.version,
      cpu: `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}`,
      'load before': loadavg()[0]!.toFixed(2),
      history: `${options.events} events in ${HISTORY_DAYS} days, seed ${options.seed}`,
      measured: `${options.seconds} s per step`,
    };
    return { ...(await measure(options, dataDir, client)), environment };
  } finally {
    await client.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function measure(options: OverloadBenchOptions, dataDir: string, client: Client) {
  const { repo, events, seconds, seed, onProgress } = options;
  const ms = seconds * 1_000;
  const ratePerSecond = events / ((HISTORY_DAYS * DAY_MS) / 1_000);
  const swipes: Iterator<SimulatedEvent, never> = simulate({ seed, startMs: START_MS, ratePerSecond });
  const take = (count: number): SimulatedEvent['data'][] =>
    Array.from({ length: count }, () => swipes.next().value.data);
  const open = (limits: Partial<AppLimits>): Promise<Embedded> =>
    openEmbedded({ repo, dataDir, clock: 'event', appliedTimeoutMs: 60_000, limits });

  onProgress(`preloading ${events} events …`);
  let engine = await open({});
  const rows: OverloadRow[] = [];
  let sustainablePerSecond = 0;
  let refusals = { refusalsPerSecond: 0, refusalCpuUs: 0 };
  try {
    for (let done = 0; done < events; done += CHUNK) {
      await engine.push.push('card_transactions', take(Math.min(CHUNK, events - done)), { wait: 'applied' });
    }
    await engine.compact();
    const requests = take(REQUESTS).map((event, i): ClientRequest => {
      const { customer_id, terminal_id } = event;
      return i % PUSH_EVERY === 0
        ? { kind: 'push', path: PUSH, body: JSON.stringify({ events: [event] }) }
        : { kind: 'read', path: READ, body: JSON.stringify({ entities: { customer_id, terminal_id } }) };
    });
    for (const shedding of [false, true]) {
      await engine.close();
      engine = await open(shedding ? {} : NO_SHEDDING);
      const url = new URL(await engine.app.listen({ host: '127.0.0.1', port: 0 }));
      await client.order({ kind: 'start', port: Number(url.port), requests }, 'done');
      const closed = { kind: 'closed', ms, connections: CONNECTIONS } as const;
      onProgress(`warming up, ${shedding ? 'with' : 'without'} shedding …`);
      const warm = await client.order(closed, 'ran');
      if (!shedding) {
        const ran = seconds < 1 ? warm : await client.order(closed, 'ran');
        sustainablePerSecond = ((ran.read.sent + ran.push.sent) / ran.seconds) * SUSTAINABLE_SHARE;
      }
      for (const [step, times] of [
        ['1×', 1],
        ['3×', 3],
        ['1×, behind', 1],
      ] as const) {
        onProgress(`${step}, ${shedding ? 'with' : 'without'} shedding …`);
        const offeredPerSecond = Math.max(1, times * sustainablePerSecond);
        const ran = await client.order({ kind: 'open', ms, ratePerSecond: offeredPerSecond }, 'ran');
        const { seconds: took, read, push } = ran;
        rows.push({ step, shedding, offeredPerSecond, seconds: took, read, push });
      }
    }
    await engine.close();
    engine = await openOverSilentStore(repo);
    const url = new URL(await engine.app.listen({ host: '127.0.0.1', port: 0 }));
    onProgress('refusals …');
    refusals = await refuse(
      client,
      Number(url.port),
      requests.filter(({ kind }) => kind === 'read'),
      ms,
    );
  } finally {
    await engine.close();
  }
  return { sustainablePerSecond, ...refusals, rows };
}

/** Takes one request at a time, and answers none: its store never does. */
function openOverSilentStore(repo: CompiledRepo): Promise<Embedded> {
  const memory = openMemoryStorage();
  const store = new Proxy(memory.store, {
    get(target, name) {
      if (name === 'read') return () => new Promise(() => {});
      const member: unknown = Reflect.get(target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  return compose({ repo, clock: 'event', limits: { inFlight: 1 } }, { ...memory, store });
}

/** While a request holds the only place. */
async function refuse(client: Client, port: number, requests: readonly ClientRequest[], ms: number) {
  const holder = connect(port, '127.0.0.1').on('error', () => {});
  const body = requests[0]!.body;
  holder.write(
    `POST ${READ} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${DEADLINE_HEADER}: ${DEADLINE_MAX_MS}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  try {
    await client.order({ kind: 'start', port, requests }, 'done');
    const closed = { kind: 'closed', ms, connections: CONNECTIONS } as const;
    await client.order(closed, 'ran');
    const before = process.cpuUsage();
    const { read, seconds } = await client.order(closed, 'ran');
    const { user, system } = process.cpuUsage(before);
    const refused = read.statuses[503] ?? 0;
    if (refused !== read.sent) throw new Error(`${refused} of ${read.sent} requests were refused`);
    return { refusalsPerSecond: refused / seconds, refusalCpuUs: (user + system) / refused };
  } finally {
    holder.destroy();
  }
}

export function formatOverloadReport(report: OverloadReport): string {
  const { rows, sustainablePerSecond, refusalsPerSecond, refusalCpuUs, environment } = report;
  const rate = (count: number): string => Math.round(count).toLocaleString('en-US');
  const table = textTable([
    [
      'load',
      'shedding',
      'offered/s',
      'reads 200/s',
      'shed',
      'p50',
      'p99',
      'p99.9',
      'refusal p99',
      'pushes shed',
    ],
    ...rows.map(({ step, shedding, offeredPerSecond, seconds, read, push }) => [
      step,
      shedding ? 'yes' : 'no',
      rate(offeredPerSecond),
      rate((read.statuses[200] ?? 0) / seconds),
      share(read),
      ...(['p50Us', 'p99Us', 'p999Us'] as const).map((name) =>
        read.admitted === null ? '' : formatUs(read.admitted[name]),
      ),
      read.onset === null ? '' : formatUs(read.onset.p99Us),
      read.refused === null ? '' : formatUs(read.refused.p99Us),
      share(push),
    ]),
  ]);
  return [
    table,
    '',
    `sustainable: ${rate(sustainablePerSecond)} requests/s (half of a closed loop of ${CONNECTIONS}), one in ` +
      `${PUSH_EVERY} a push of an event`,
    `refusals: ${rate(refusalsPerSecond)}/s by ${CONNECTIONS} connections, ${refusalCpuUs.toFixed(1)} µs of CPU each`,
    '',
    textTable(Object.entries(environment).map(([name, value]) => [name, String(value)])),
    '',
    'Latencies count from the time a request was to be sent at. The client shares the cores with the server; what waits in ' +
      'it for one of its 500 connections is part of the latencies.',
  ].join('\n');
}

function share({ sent, statuses }: Outcome): string {
  return `${(100 * (1 - (statuses[200] ?? 0) / Math.max(1, sent))).toFixed(1)} %`;
}
