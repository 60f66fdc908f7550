/** A real engine in a directory of its own, on a clock moved by hand. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '../../engine/clock.ts';
import { type Embedded, type EmbeddedOptions, openEmbedded } from '../runtime.ts';
import { NOON_MS, testRepo } from './test-repo.ts';

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
  readonly body: any;
  readonly headers: Readonly<Record<string, unknown>>;
}

export class TestEngine {
  readonly clock: ManualClock;
  readonly dataDir: string;
  engine: Embedded;
  readonly #options: Partial<EmbeddedOptions>;

  static async open(options: Partial<EmbeddedOptions> = {}): Promise<TestEngine> {
    const dataDir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
    const clock = new ManualClock(NOON_MS);
    const engine = await openEmbedded(TestEngine.#complete(dataDir, clock, options));
    return new TestEngine(dataDir, clock, engine, options);
  }

  static #complete(dataDir: string, clock: ManualClock, options: Partial<EmbeddedOptions>): EmbeddedOptions {
    return { repo: testRepo, dataDir, flush: false, wallClock: clock, processMetrics: false, ...options };
  }

  private constructor(
    dataDir: string,
    clock: ManualClock,
    engine: Embedded,
    options: Partial<EmbeddedOptions>,
  ) {
    this.dataDir = dataDir;
    this.clock = clock;
    this.engine = engine;
    this.#options = options;
  }

  /** Closes the engine and opens another on the same directory. */
  async restart(options: Partial<EmbeddedOptions> = {}): Promise<void> {
    await this.engine.close();
    this.engine = await openEmbedded(
      TestEngine.#complete(this.dataDir, this.clock, { ...this.#options, ...options }),
    );
  }

  async close(): Promise<void> {
    await this.engine.close();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** JSON as given, text as it is. */
  async post(url: string, body: unknown, contentType = 'application/json'): Promise<Answer> {
    const response = await this.engine.app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': contentType },
      payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
    });
    return answer(response);
  }

  async get(url: string): Promise<Answer> {
    return answer(await this.engine.app.inject(url));
  }

  /** Pushes and waits until reads see it. */
  push(source: string, events: readonly unknown[]): Promise<Answer> {
    return this.post(`/v1/sources/${source}/events?wait=applied`, { events });
  }

  read(service: string, body: unknown): Promise<Answer> {
    return this.post(`/v1/services/${service}/features`, body);
  }

  /** Records held by all logs of the data: to see that nothing was written. */
  async recorded(): Promise<number> {
    const text = (await this.get('/metrics')).body as string;
    return [...text.matchAll(/^millrace_push_events_total\{.*outcome="accepted"\} (\d+)$/gm)].reduce(
      (total, match) => total + Number(match[1]),
      0,
    );
  }
}

function answer(response: { statusCode: number; body: string; headers: object }): Answer {
  const headers = response.headers as Record<string, unknown>;
  const json = String(headers['content-type']).includes('application/json');
  return { status: response.statusCode, body: json ? JSON.parse(response.body) : response.body, headers };
}
