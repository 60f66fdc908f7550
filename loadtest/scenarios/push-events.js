/** Pushes of many events. */
import { ask, eventOf, items, plan, serial } from './answers.js';

export { handleSummary, options, setup } from './answers.js';

export default function () {
  const first = serial() * plan.eventsPerPush;
  const events = [];
  for (let i = 0; i < plan.eventsPerPush; i++) {
    events.push(eventOf(items[(first + i) % items.length], first + i));
  }
  ask(`{"events":[${events.join(',')}]}`, ({ accepted, rejected }) =>
    accepted === plan.eventsPerPush ? null : `${accepted} accepted, ${rejected.length} rejected`,
  );
}
