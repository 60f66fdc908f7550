/** Feature requests of several rows each: more work for the engine than for k6. */
import { ask, items, iteration, plan, problemOfFeatures } from './answers.js';

export { handleSummary, options, setup } from './answers.js';

function problemOfRows({ rows }) {
  if (rows.length !== plan.rowsPerBatch) return `${rows.length} rows`;
  return rows.map(problemOfFeatures).find((problem) => problem !== null) ?? null;
}

export default function () {
  const first = iteration() * plan.rowsPerBatch;
  const rows = [];
  for (let i = 0; i < plan.rowsPerBatch; i++) {
    rows.push(`{"entities":${items[(first + i) % items.length].entities}}`);
  }
  ask(`{"rows":[${rows.join(',')}]}`, problemOfRows);
}
