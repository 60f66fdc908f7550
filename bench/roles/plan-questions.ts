/** What the questions of a load ask Redis for and find there, for the bare route to do the same. */
import type { CompiledRepo } from '../../engine/definitions/compiled.ts';
import { fieldsOf } from '../../engine/store/read-fields.ts';
import { RedisKeys } from '../../engine/store/redis/redis-keys.ts';
import { RedisTileStore } from '../../engine/store/redis/redis-tile-store.ts';
import type { TileStore } from '../../engine/store/tile-store.ts';
import { FeatureReader } from '../../serve/feature-reader.ts';
import type { BarePlan, StateFields } from './bare-reader.ts';
import type { EngineProcess } from './engine-process.ts';
import type { Scope } from './scope.ts';

/** What stands before the head in Redis: token, and life of the server. */
const HEAD_PREFIX_BYTES = 12;

/** Keys by entity, in the order of all requests. */
export type Entities = Readonly<Record<string, string | number>>;

interface Answer {
  readonly features: Readonly<Record<string, unknown>>;
  readonly metadata?: { readonly at_ms: number };
}

/**
 * Asks everything twice as of one time: over HTTP, and in this process through a store that notes what is asked for.
 * @throws where the two differ
 */
export async function planQuestions(
  args: {
    readonly repo: CompiledRepo;
    readonly service: string;
    readonly questions: readonly Entities[];
    readonly serve: EngineProcess;
    readonly redis: string;
  },
  scope: Scope,
): Promise<{ readonly plans: BarePlan[]; readonly checksum: number }> {
  const { repo, service, questions, serve } = args;
  const redisStore = await RedisTileStore.open({ nodes: args.redis, profile: 'serving' });
  scope.defer(() => redisStore.close());
  const keys = new RedisKeys('mr', redisStore.shards);
  const store: TileStore = redisStore;
  const read = store.read.bind(store);
  let noted: { present: StateFields[]; asked: StateFields[]; bytes: number } = {
    present: [],
    asked: [],
    bytes: 0,
  };
  store.read = async (requests) => {
    const states = await read(requests);
    requests.forEach((request, r) => {
      const key = keys.state(request.address);
      const fields = fieldsOf(request);
      const { head, fields: values } = states[r]!;
      const present = fields.filter((_, f) => values[f] !== null);
      noted.asked.push({ key, fields: ['.', ...fields] });
      if (head === null) return;
      noted.present.push({ key, fields: ['.', ...present] });
      noted.bytes +=
        HEAD_PREFIX_BYTES + head.length + values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    });
    return states;
  };
  const reader = new FeatureReader({
    service: repo.services.get(service)!,
    store,
    shards: redisStore.shards,
    isCatchingUp: () => false,
    onEvaluationError: (_view, error) => {
      throw error;
    },
  });
  const ask = (body: object): Promise<Answer> => askFeatures(serve, service, body);
  const atMs = (await ask({ entities: questions[0], metadata: true })).metadata!.at_ms;
  const plans: BarePlan[] = [];
  let checksum = 0;
  for (const entities of questions) {
    noted = { present: [], asked: [], bytes: 0 };
    const asked = new Map(Object.entries(entities).map(([name, key]) => [name, String(key)]));
    const [values] = await reader.read([{ keys: asked, request: {}, atMs, asked: null }]);
    const answer = await ask({ entities, at: atMs });
    for (const { name, slot } of reader.output) {
      const value = values![slot]!.value;
      if (answer.features[name] !== value) {
        throw new Error(`${name} is ${answer.features[name]} over HTTP and ${String(value)} in process`);
      }
      checksum += Number(value ?? 0);
    }
    plans.push({ entities, ...noted, answer });
  }
  return { plans, checksum };
}

async function askFeatures(serve: EngineProcess, service: string, body: object): Promise<Answer> {
  const response = await fetch(`${serve.url}/v1/services/${service}/features`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) throw new Error(`serve answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as Answer;
}
