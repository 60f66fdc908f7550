/** What goes wrong with the schema registry, at random steps as the plan of the seed says. */
import type { RunState } from './run-state.ts';
import { LOSABLE_SCHEMAS } from './simulated-records.ts';

export function injectRegistryFaults({ random, plan, faults, scheduler, registry }: RunState): void {
  if (random.chance(plan.registryAway)) {
    faults.add('registry away for a while');
    registry.awayUntil = scheduler.steps + random.between(20, 600);
  }
  if (random.chance(plan.registrySlow)) {
    faults.add('registry slow for a while');
    registry.slowUntil = scheduler.steps + random.between(50, 600);
  }
  if (random.chance(plan.schemaLost)) {
    faults.add('schema lost by the registry');
    registry.lost.add(random.pick(LOSABLE_SCHEMAS));
  }
  if (registry.lost.size > 0 && random.chance(plan.schemaFound)) {
    registry.lost.delete(random.pick([...registry.lost]));
  }
}
