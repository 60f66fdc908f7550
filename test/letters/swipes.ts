import type { SeededRandom } from '../../engine/testing/random.ts';
import { postJson } from '../millrace-process.ts';

export interface Swipe {
  readonly at: number;
  readonly card: string;
  readonly amount: number;
  /** Its own: what is counted twice, and what is not, do not make up for each other. */
  readonly serial: number;
}

/** So many that none has more serials than a distinct count is exact for. */
const CARDS = Array.from({ length: 24 }, (_, i) => `card-${i}`);

/** Swipes of the fixture `mendable`, some of which are dead letters until it is mended, and what they should come to. */
export class Swipes {
  readonly all: readonly Swipe[];
  readonly unlucky: number;

  constructor(random: SeededRandom, swipes: number) {
    const at = Date.now();
    this.all = Array.from({ length: swipes }, (_, serial) => ({
      at,
      card: random.pick(CARDS),
      amount: random.chance(0.7) ? 13 : random.below(12),
      serial,
    }));
    this.unlucky = this.all.filter(({ amount }) => amount === 13).length;
  }

  /** Features by card, when each swipe is counted once; before it is mended without the unlucky ones. */
  features(mended: boolean): Record<string, Record<string, number>> {
    return Object.fromEntries(
      CARDS.map((card) => {
        const swipes = this.all.filter((swipe) => swipe.card === card);
        const careful = swipes.filter(({ amount }) => mended || amount !== 13);
        return [
          card,
          {
            careful_ever: careful.length,
            serials_ever: careful.length,
            serial_sum_ever: careful.reduce((sum, { serial }) => sum + serial, 0),
            careful_30d: careful.length,
            plain_30d: swipes.length,
          },
        ];
      }),
    );
  }
}

interface Row {
  readonly features: Record<string, number>;
  readonly metadata: { readonly features: Readonly<Record<string, { readonly status: string }>> };
}

/** What a server answers for all cards; null where it does not say that it is current. */
export async function served(url: string): Promise<Record<string, Record<string, number>> | null> {
  const rows = CARDS.map((card) => ({ entities: { card } }));
  const { status, body } = await postJson(`${url}/v1/services/swipes_of_card/features/batch`, {
    ...{ rows, metadata: true },
  });
  if (status !== 200) return null;
  const answers = (body as { rows: Row[] }).rows;
  const statuses = answers.flatMap(({ metadata }) => Object.values(metadata.features));
  if (statuses.some(({ status }) => status !== 'present' && status !== 'empty')) return null;
  return Object.fromEntries(CARDS.map((card, i) => [card, answers[i]!.features]));
}

/** Of all cards. */
export const total = (answer: Record<string, Record<string, number>> | null, feature: string): number =>
  Object.values(answer ?? {}).reduce((sum, features) => sum + features[feature]!, 0);
