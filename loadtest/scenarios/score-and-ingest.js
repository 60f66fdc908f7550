/** The event that is being decided, counted in the answer and recorded before it. */
import { ask, eventOf, items, iteration, plan, problemOfFeatures, serial } from './answers.js';

export { handleSummary, options, setup } from './answers.js';

export default function () {
  const event = eventOf(items[iteration() % items.length], serial());
  const body = `{"event":{"source":"${plan.source}","data":${event}},"entities":{},"ingest":true}`;
  ask(body, (answer) =>
    answer.ingested === 'recorded' ? problemOfFeatures(answer) : `ingested is ${answer.ingested}`,
  );
}
