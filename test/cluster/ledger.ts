import type { Payment } from './events.ts';

/** Of one card: payments and the sum of their points. */
export interface Totals {
  readonly payments: number;
  readonly points: bigint;
}

interface Account {
  begun: Totals;
  /** After each payment, in the order of their acknowledgements. */
  readonly acknowledged: { readonly atMs: number; readonly totals: Totals }[];
}

const NOTHING: Totals = { payments: 0, points: 0n };

/**
 * Payments on their way, between whoever sends them and whoever reads features meanwhile: what can have been counted by
 * now, and what must have been. Times are of `performance.now()`.
 */
export class Ledger {
  readonly #accounts = new Map<string, Account>();
  readonly #begun = new Set<string>();
  readonly acknowledgedIds = new Set<string>();

  /** Before they are sent for the first time. */
  begin(payments: readonly Payment[]): void {
    for (const payment of payments) {
      if (this.#begun.has(payment.id)) continue;
      this.#begun.add(payment.id);
      const account = this.#of(payment.card);
      account.begun = plus(account.begun, payment);
    }
  }

  /** Once it is known that they are in the log. */
  acknowledge(payments: readonly Payment[]): void {
    for (const payment of payments) {
      if (this.acknowledgedIds.has(payment.id)) continue;
      this.acknowledgedIds.add(payment.id);
      const { acknowledged } = this.#of(payment.card);
      const totals = plus(acknowledged.at(-1)?.totals ?? NOTHING, payment);
      acknowledged.push({ atMs: performance.now(), totals });
    }
  }

  /** Everything that was sent by now. */
  most(card: string): Totals {
    return this.#of(card).begun;
  }

  /** Everything that was acknowledged by then. */
  least(card: string, atMs: number): Totals {
    const { acknowledged } = this.#of(card);
    return acknowledged.findLast((entry) => entry.atMs <= atMs)?.totals ?? NOTHING;
  }

  #of(card: string): Account {
    let account = this.#accounts.get(card);
    if (account === undefined) {
      account = { begun: NOTHING, acknowledged: [] };
      this.#accounts.set(card, account);
    }
    return account;
  }
}

function plus({ payments, points }: Totals, payment: Payment): Totals {
  return { payments: payments + 1, points: points + BigInt(payment.points ?? 0) };
}
