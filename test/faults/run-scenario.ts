/**
 * One scenario of faults: two processes of each role under load, killed and suspended at random all the time, while the
 * scenario disturbs the servers they depend on. Then everything heals, without a human: lag returns to 0, and every count,
 * sum, minimum, maximum and distinct count is that of the oracle over what the topics hold, in which all that was
 * acknowledged must be. A reader asks all the while (see `Reader` for what it allows).
 *
 * A seed chooses the faults and the events; moments are the machine's, so a seed does not repeat a run exactly.
 */
import { appendFileSync } from 'node:fs';
import { expect, onTestFinished } from 'vitest';
import { SeededRandom } from '../../engine/testing/random.ts';
import { Events } from '../cluster/events.ts';
import { Ledger } from '../cluster/ledger.ts';
import { Load } from '../cluster/load.ts';
import { type Encode, Producer } from '../cluster/producer.ts';
import { Reader } from '../cluster/reader.ts';
import { RunningRoles } from '../cluster/running-roles.ts';
import { Truth, type TruthOptions } from '../cluster/truth.ts';
import type { SupervisedProcess } from '../supervised-process.ts';
import { FaultCounts } from './fault-counts.ts';
import { disturbProcesses } from './process-faults.ts';
import { World } from './world.ts';

const WRITERS = 3;
/** Of each process, where a run failed. */
const LINES_SHOWN = 12;

/** What the processes of a scenario run on. */
export interface Services {
  /** As the processes are given them. */
  readonly brokers: readonly string[];
  /** Where the brokers themselves listen. @default those of `brokers` */
  readonly brokerPorts?: readonly number[];
  /** Value of `--redis`. */
  readonly redis: string;
  /** Further flags of every process. */
  readonly flags?: readonly string[];
  /** Further flags of those that ingest. */
  readonly ingestFlags?: readonly string[];
  /** How the foreign producer writes payments, and how the oracle reads them. @default JSON */
  readonly format?: { readonly encode: Encode; readonly parse: NonNullable<TruthOptions['parse']> };
}

export interface Scenario {
  /** As in the command line and docs/reliability.md. */
  readonly name: string;
  readonly services: Services;
  /** One fault from beginning to end, or one that is left for `heal`; called again and again. */
  readonly disturb: (world: World) => Promise<void>;
  /** Ends what `disturb` left. */
  readonly heal?: () => Promise<void>;
  /** The feature repo at the end. @default that of the fixture `roles` */
  readonly definitions?: TruthOptions['definitions'];
}

export const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
/** How long the load lasts, s. */
export const SECONDS = Number(process.env.FAULTS_SECONDS ?? 20);
/** For one run, ms: servers, load, healing and comparison on a slow machine. */
export const TIMEOUT_MS = 420_000 + SECONDS * 3_000;

/** What a run writes, as a line of JSON, to the file that `FAULTS_REPORT` names. */
export interface ScenarioReport {
  readonly name: string;
  readonly seed: number;
  readonly seconds: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly reads: Readonly<Record<string, number>>;
  readonly events: number;
  readonly compared: number;
}

const runOf = (name: string): string => `${name}, TEST_SEED=${SEED}`;

export async function runScenario(scenario: Scenario): Promise<void> {
  const { name, services } = scenario;
  const startedMs = performance.now();
  const log: string[] = [];
  const say: Say = (text) => {
    log.push(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${text}`);
  };
  onTestFinished(() => console.log([`== ${runOf(name)}`, ...log].join('\n')));

  const { brokers, redis, flags = [], ingestFlags = [] } = services;
  const started = { name, brokers, redis, flags, ingestFlags, startsMayFail: true };
  const roles = await RunningRoles.start(started);
  say('six processes are ready');
  try {
    await play(scenario, roles, say);
  } catch (error) {
    for (const process_ of roles.all) say(await stateOf(process_));
    throw error;
  }
}

type Say = (text: string) => void;

async function play(scenario: Scenario, roles: RunningRoles, say: Say): Promise<void> {
  const { name, services, disturb, heal, definitions } = scenario;
  const { brokers } = services;
  const run = runOf(name);
  const faults = new FaultCounts();

  // Scenarios of one seed differ in what happens to their processes.
  const random = new SeededRandom([...name].reduce((seed, c) => Math.imul(seed, 31) + c.charCodeAt(0), SEED));
  const forked = (): SeededRandom => new SeededRandom(random.uint32());
  const events = new Events(forked());
  const ledger = new Ledger();
  const load = new Load({ servers: roles.serve, events, ledger, random: forked() });
  const producer = new Producer({
    ...{ topics: roles.topics, events, ledger, random: forked() },
    ...(services.format === undefined ? {} : { encode: services.format.encode }),
  });
  const reader = new Reader({ servers: roles.serve, ledger, random: forked() });
  const worldOf = (): World =>
    new World({
      ...{ random: forked(), roles, load, faults, say },
      brokerPorts: services.brokerPorts ?? brokers.map((broker) => Number(broker.split(':')[1])),
      endMs: startedLoadMs + SECONDS * 1_000,
    });
  const startedLoadMs = performance.now();
  const world = worldOf();

  const running = [...Array.from({ length: WRITERS }, () => load.write()), producer.run(load, brokers)];
  const watching = [reader.run(load), disturbProcesses(worldOf()), disturbUntilOver(world, disturb)];
  // What fails ends the load, and is thrown below.
  for (const part of [...running, ...watching]) part.catch(() => (load.stopped = true));
  await world.pause(Number.POSITIVE_INFINITY);
  // Before the writers are waited for: they repeat what is not acknowledged.
  await Promise.allSettled(watching.slice(1));
  await heal?.();
  load.stopped = true;
  await Promise.all([...watching, ...running]);
  say(`the load has ended: ${load.acknowledged} pushes acknowledged after ${load.retries} retries`);

  await roles.heal(events);
  say(`healed; ${roles.compacted} states compacted`);
  const truth = new Truth({
    ...(definitions === undefined ? {} : { definitions }),
    ...(services.format === undefined ? {} : { parse: services.format.parse }),
  });
  const records = await roles.readTopics();
  const compared = await roles.expectTrue({ truth, ledger, records, run });
  const reads = Object.fromEntries(reader.seen);
  say(
    `${compared} values equal the oracle's, of ${truth.total} events (${producer.produced} records produced, ` +
      `${records.letters.length} dead letters); read meanwhile: ${JSON.stringify(reads)}`,
  );
  say(`faults: ${JSON.stringify(faults)}`);
  expect(reader.wrong, run).toEqual([]);
  expect(compared).toBeGreaterThan(300);
  // A reader that was never answered, and a scenario without faults, would show nothing.
  expect((reader.seen.get('present') ?? 0) + (reader.seen.get('catching_up') ?? 0)).toBeGreaterThan(0);
  expect(world.injected).toBeGreaterThan(0);

  await roles.stop();
  const failedStarts = roles.all.reduce((sum, { failedStarts }) => sum + failedStarts, 0);
  say(`all stopped; ${failedStarts} starts failed as a server was away`);
  report({
    name,
    seed: SEED,
    seconds: SECONDS,
    faults: faults.toJSON(),
    reads,
    events: truth.total,
    compared,
  });
}

/** For whoever looks for what went wrong. */
async function stateOf(process_: SupervisedProcess): Promise<string> {
  const readiness = process_.url === null ? 'does not listen' : await process_.get('/readyz').catch(String);
  return `${process_.name}: ${readiness}\n${process_.stderr.trimEnd().split('\n').slice(-LINES_SHOWN).join('\n')}`;
}

async function disturbUntilOver(world: World, disturb: Scenario['disturb']): Promise<void> {
  while (!world.isOver) await disturb(world);
}

function report(of: ScenarioReport): void {
  const file = process.env.FAULTS_REPORT;
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(of)}\n`);
}
