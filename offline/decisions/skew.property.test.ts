/**
 * Random questions to random services, with every type of value there is: computed again from the events, every value of the
 * decision log is equal. With events of several sources, with ids and without, with narrowed questions, with request data and
 * with hashed keys. And where one event is left out of the history, that is seen.
 *
 * Another seed: `PROPERTY_SEED=123456`. What it does not catch: late events and archives (test/skew.test.ts).
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openInMemory } from '../../embedded/runtime.ts';
import { testRepo } from '../../embedded/testing/test-repo.ts';
import { ManualClock } from '../../engine/clock.ts';
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import {
  compileRepo,
  double,
  featureService,
  long,
  onDemandFeature,
  string,
  timestamp,
} from '../../index.ts';
import { loggedDecisions } from '../../serve/decision-log/testing/logged-decisions.ts';
import { NOON_MS, randomEvent, randomService } from '../../serve/testing/random-service.ts';
import { type DecisionTrainingFileOptions, decisionTrainingSetFile } from './decision-training-set.ts';
import { featureSkew, type SkewReport } from './skew.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const SECRET = 'sixteen letters.';

type Json = Record<string, unknown>;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-skew-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const echo = onDemandFeature({
  name: 'echo',
  type: 'string',
  request: {
    real: double(),
    big: long({ nullable: true }),
    text: string({ nullable: true }),
    since: timestamp({ nullable: true }),
    // Also the name of the entity.
    key: string({ nullable: true }),
  },
  compute: ({ request }) => [request.real, request.big, request.text, request.since, request.key].join(' '),
});

interface Asked {
  readonly service: string;
  readonly body: Json;
}

/** Pushes, asks, and closes; the log and the history are in the folder then. */
async function serve(of: {
  readonly repo: CompiledRepo;
  readonly random: SeededRandom;
  readonly events: Readonly<Record<string, readonly object[]>>;
  question(n: number, nowMs: number): Asked;
  readonly questions: number;
}): Promise<{ secret: string | null; answered: number; history: Readonly<Record<string, object[]>> }> {
  const secret = of.random.chance(0.5) ? SECRET : null;
  const clock = new ManualClock(NOON_MS);
  const history = Object.fromEntries(Object.entries(of.events).map(([name, events]) => [name, [...events]]));
  const engine = await openInMemory({
    ...{ repo: of.repo, wallClock: clock },
    decisionLog: { directory: join(dir, 'decisions'), sample: 1, secret },
  });
  let answered = 0;
  try {
    for (const [source, events] of Object.entries(of.events))
      await engine.push.push(source, events, { wait: 'applied' });
    for (let n = 0; n < of.questions; n++) {
      clock.advanceTo(clock.nowMs() + 1 + of.random.below(60_000));
      const { service, body } = of.question(n, clock.nowMs());
      const response = await engine.app.inject({
        method: 'POST',
        url: `/v1/services/${service}/features${body.rows === undefined ? '' : '/batch'}`,
        payload: body,
      });
      if (response.statusCode !== 200) throw new Error(response.body);
      answered += body.rows === undefined ? 1 : (body.rows as unknown[]).length;
      const recorded = body.event as { source: string; data: object } | undefined;
      if (body.ingest !== true || recorded === undefined) continue;
      history[recorded.source]!.push(recorded.data);
      // In the log behind it, and applied behind it: a repeat, or what no window of any key that is asked for has.
      const behind =
        recorded.source === 'clicks'
          ? { at: NOON_MS - 86_400_000, card: 'nobody', page: '' }
          : history[recorded.source]![0]!;
      await engine.push.push(recorded.source, [behind], { wait: 'applied' });
    }
  } finally {
    await engine.close();
  }
  return { secret, answered, history };
}

function write(name: string, events: readonly object[]): string {
  const file = join(dir, `${name}.ndjson`);
  writeFileSync(file, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  return file;
}

/** Training sets of the decisions, by their ids: with values that are computed, and with those that were logged. */
async function rowsOf(
  options: Omit<DecisionTrainingFileOptions, 'out'>,
  history: string,
): Promise<[computed: Map<string, Json>, logged: Map<string, Json>]> {
  const out = join(dir, 'rows.ndjson');
  const read = (): Map<string, Json> => {
    const lines = readFileSync(out, 'utf8').trimEnd().split('\n');
    return new Map(lines.map((line) => JSON.parse(line) as Json).map((row) => [row.decision as string, row]));
  };
  await decisionTrainingSetFile({ ...options, history, out });
  const computed = read();
  await decisionTrainingSetFile({ ...options, secret: null, out });
  const logged = read();
  expect(computed.size).toBeGreaterThan(10);
  expect(logged.size).toBeGreaterThanOrEqual(computed.size);
  if (options.secret != null) {
    // They stay hashed without a history.
    for (const row of logged.values()) expect(row.key).toMatch(/^[0-9a-f]{64}$/);
    for (const [decision, { key }] of computed) if (logged.has(decision)) logged.get(decision)!.key = key;
  }
  return [computed, logged];
}

/** Doubles may differ in their last bits. */
function nearly(value: unknown): unknown {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    return expect.toSatisfy((other) => Math.abs((other as number) - value) <= 1e-12 * Math.abs(value));
  }
  if (Array.isArray(value)) return value.map(nearly);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, nearly(own)]));
}

/** Features with differences, and how often. */
const differing = ({ features }: SkewReport): unknown =>
  features.filter((own) => own.differing > 0).map(({ feature, differing: n, worst }) => [feature, n, worst]);

describe('there is no skew', () => {
  test.each(Array.from({ length: 8 }, (_, i) => SEED + i))('in random services, seed %i', async (seed) => {
    const random = new SeededRandom(seed);
    const service = featureService({ name: 'random', features: [...randomService(random).features, echo] });
    const repo = compileRepo([service]);
    const names = repo.services.get('random')!.output.map(({ name }) => name);
    // Of few different times, so that there are ties.
    const events = Array.from({ length: 60 }, (_, i) => {
      const event = randomEvent(random, i) as Json & { readonly at: number };
      return { ...event, at: event.at - (event.at % 600_000) };
    });
    const row = (nowMs: number): Json => {
      const request = {
        real: random.pick([0, -0.5, 0.1, 5e-324, 1e100, 2 ** 53, 3]),
        big: random.pick([null, 3, '9007199254740993', '-9223372036854775808']),
        text: random.pick([null, 'plain', '"\\\n\u2028🔑', '\ufeffmarked']),
        since: random.pick([null, nowMs]),
        key: random.pick([null, 'another']),
      };
      const key = random.pick(['k1', 'k2', 'key of nobody']);
      if (random.chance(0.5)) {
        const at = random.chance(0.5) ? { at: nowMs - random.below(3_600_000) } : {};
        return { entities: { key }, request, ...at };
      }
      const event = random.pick(events);
      return {
        ...(random.chance(0.2) ? { entities: { key } } : {}),
        ...{ request, event: { source: 'things', data: event } },
        // As of its own time, or of another's, which it is not tied with.
        ...(random.chance(0.4) ? { at: random.pick(events).at } : {}),
      };
    };
    const question = (n: number, nowMs: number): Asked => {
      const features = random.chance(0.3) ? { features: names.filter(() => random.chance(0.5)) } : {};
      if (features.features?.length === 0) features.features.push('echo');
      if (random.chance(0.3))
        return { service: 'random', body: { rows: [row(nowMs), row(nowMs)], ...features } };
      if (random.chance(0.7)) return { service: 'random', body: { ...row(nowMs), ...features } };
      const data = { ...randomEvent(random, 1_000 + n), at: nowMs };
      const { request } = row(nowMs);
      return {
        service: 'random',
        body: { request, event: { source: 'things', data }, ingest: true, ...features },
      };
    };
    const { secret, answered, history } = await serve({
      repo,
      random,
      events: { things: events },
      question,
      questions: 60,
    });
    const options = { repo, service: 'random', decisions: join(dir, 'decisions'), secret };
    const report = await featureSkew({ ...options, history: write('whole', history.things!) });
    expect(differing(report)).toEqual([]);
    expect(report.decisions).toMatchObject({ sampled: answered, computed: answered, leftOut: new Map() });
    expect(report.matchRate).toBe(1);
    const [computed, logged] = await rowsOf({ ...options, prefix: 'f_' }, write('whole', history.things!));
    for (const [decision, row] of computed) {
      const own = logged.get(decision)!;
      for (const { name } of repo.services.get('random')!.output) {
        // What was not asked for, or could not be answered, is null there.
        if (own[`f_${name}`] !== null)
          expect([name, own[`f_${name}`]]).toEqual([name, nearly(row[`f_${name}`])]);
      }
      for (const [name, value] of Object.entries(row))
        if (!name.startsWith('f_')) expect([name, own[name]]).toEqual([name, value]);
    }
    for (const { feature, compared, notCompared } of report.features) {
      if (feature !== 'broken' && feature !== 'ratio') expect([feature, compared]).not.toEqual([feature, 0]);
      for (const status of notCompared.keys()) expect(['error', 'beyond_64_bits']).toContain(status);
    }
  });

  test.each(Array.from({ length: 4 }, (_, i) => SEED + i))(
    'in services of several sources and entities, seed %i',
    async (seed) => {
      const random = new SeededRandom(seed);
      const card = (): string => random.pick(['c1', 'c2', 'c3']);
      const payment = (id: string, at: number): Json => ({
        ...{ id, at, card: card(), shop: random.pick(['s1', 's2', null]), amount: random.below(100) },
        points: random.pick([null, 5]),
        refused: random.chance(0.3),
      });
      const pastMs = (): number => NOON_MS - 1 - random.below(60) * 60_000;
      const payments = Array.from({ length: 40 }, (_, i) => payment(`p${i}`, pastMs()));
      const clicks = Array.from({ length: 40 }, () => ({
        at: pastMs(),
        card: card(),
        page: random.pick(['x', 'y']),
      }));
      const question = (n: number, nowMs: number): Asked => {
        const service = random.pick(['both', 'decision']);
        const shop = service === 'decision' ? { shop: random.pick(['s1', 's9']) } : {};
        const request =
          service === 'decision'
            ? { request: { amount: random.below(9), mood: random.pick([null, 'good', 'bad']) } }
            : {};
        const entities = { card: card(), ...shop };
        if (random.chance(0.4))
          return { service, body: { entities, ...request, ...(random.chance(0.5) ? { at: pastMs() } : {}) } };
        if (service === 'decision' && random.chance(0.4))
          return { service, body: { entities: { card: 'c1' }, features: ['payments_1h'] } };
        const isClick = service === 'both' && random.chance(0.5);
        const data = isClick
          ? { at: nowMs, card: entities.card, page: 'z' }
          : { ...payment(`q${n}`, nowMs), ...entities };
        return {
          service,
          body: {
            entities,
            ...request,
            event: { source: isClick ? 'clicks' : 'payments', data },
            ingest: true,
          },
        };
      };
      const { secret, history } = await serve({
        repo: testRepo,
        random,
        events: { payments, clicks },
        question,
        questions: 80,
      });
      const options = { repo: testRepo, decisions: join(dir, 'decisions'), secret };
      const both = {
        payments: write('payments', history.payments!),
        clicks: write('clicks', history.clicks!),
      };
      const whole = await featureSkew({ ...options, service: 'both', history: both });
      expect(differing(whole)).toEqual([]);
      expect(whole.matchRate).toBe(1);
      expect(whole.decisions.leftOut).toEqual(new Map());
      const decision = await featureSkew({ ...options, service: 'decision', history: both.payments });
      expect(differing(decision)).toEqual([]);
      expect(decision.matchRate).toBe(1);
      // One click less, and one payment: those that questions to this service recorded, and so counted.
      const answered = loggedDecisions(join(dir, 'decisions')).filter((own) => own.service === 'both');
      const paid = answered.find((own) => own.event?.source === 'payments').event.id;
      const lacking = await featureSkew({
        ...{ ...options, service: 'both' },
        history: {
          payments: write(
            'fewer',
            history.payments!.filter((own) => (own as Json).id !== paid),
          ),
          clicks: write('less', history.clicks!.slice(0, -1)),
        },
      });
      const wrong = lacking.features.filter((own) => own.differing > 0).map(({ feature }) => feature);
      expect(wrong).toEqual(expect.arrayContaining(['payments_1h', 'clicks_1h']));
    },
  );
});
