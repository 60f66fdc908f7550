/** Answers before any load against what plain addition makes of the history: a wrong engine is not worth measuring. */
import type { EngineProcess } from '../bench/roles/engine-process.ts';
import type { HistoryEvent, Workload } from './workload.ts';

/** Sums of doubles are added in another order here. */
const RELATIVE_ERROR = 1e-9;

/**
 * @param history all events that were applied
 * @returns how many values were compared
 * @throws with the first value that differs
 */
export async function checkAnswers(args: {
  readonly workload: Workload;
  readonly serve: EngineProcess;
  readonly history: Iterable<HistoryEvent>;
  /** Requests' entities, as JSON. */
  readonly questions: readonly string[];
  readonly atMs: number;
}): Promise<number> {
  const { workload, serve, history, questions, atMs } = args;
  const expected = questions.map(() => workload.checked.map(() => 0));
  const entities = questions.map((question) => JSON.parse(question) as Record<string, string>);
  for (const event of history) {
    const ageMs = atMs - event.atMs;
    entities.forEach((asked, q) => {
      workload.checked.forEach(({ windowMs, selects, amount }, c) => {
        if (ageMs >= 0 && ageMs < windowMs && selects(event.draw.values, asked)) {
          expected[q]![c]! += amount(event.draw.values);
        }
      });
    });
  }
  for (const [q, question] of questions.entries()) {
    const response = await fetch(`${serve.url}/v1/services/${workload.service}/features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"entities":${question},"at":${atMs}}`,
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`a question was answered ${response.status}: ${text}`);
    const { features } = JSON.parse(text) as { features: Record<string, unknown> };
    workload.checked.forEach(({ feature }, c) => {
      const right = expected[q]![c]!;
      const found = Number(features[feature]);
      if (Math.abs(found - right) <= RELATIVE_ERROR * Math.max(1, Math.abs(right))) return;
      throw new Error(`${feature} of ${question} is ${String(features[feature])}, and ${right} by addition`);
    });
  }
  return questions.length * workload.checked.length;
}
