import { beforeAll } from 'vitest';
import { describeWithServices, sharedServices } from '../../../../services/index.ts';

/** The first call of a run starts the broker, or even downloads it. */
const START_TIMEOUT_MS = 180_000;

/** Tests on the run's broker; `brokers()` is known from `beforeAll` on. Topics and groups need names of their own. */
export function describeWithKafka(title: string, body: (brokers: () => readonly string[]) => void): void {
  describeWithServices(['kafka'], title, () => {
    let brokers: readonly string[] = [];
    beforeAll(async () => {
      brokers = await sharedServices().kafka();
    }, START_TIMEOUT_MS);
    body(() => brokers);
  });
}
