/** Feature requests of cards and merchants. */
import { ask, items, iteration, problemOfFeatures } from './answers.js';

export { handleSummary, options, setup } from './answers.js';

export default function () {
  const item = items[iteration() % items.length];
  ask(`{"entities":${item.entities}}`, problemOfFeatures);
}
