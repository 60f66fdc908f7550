/** The features of `card_fraud`, counted from a list of payments by definition: no tiles, no state, no cleverness. */

export interface Payment {
  readonly transaction_id: number;
  readonly tx_datetime: number;
  readonly customer_id: number;
  readonly terminal_id: number;
  readonly tx_amount: number;
  readonly tx_fraud: number;
}

const DAY_MS = 86_400_000;
const WINDOW_DAYS = [1, 7, 30];
/** A label is known a week after the payment. */
const LABEL_DELAY_MS = 7 * DAY_MS;

/** Takes payments in the order of the file; returns for each the features as of it, it included. */
export function countedPayments(): (payment: Payment) => Record<string, number> {
  const ofCustomer = new Map<number, Payment[]>();
  const ofTerminal = new Map<number, Payment[]>();
  return (payment) => {
    const atMs = payment.tx_datetime;
    const paid = remembered(ofCustomer, payment.customer_id, payment);
    const taken = remembered(ofTerminal, payment.terminal_id, payment);
    const features: Record<string, number> = {
      TX_DURING_WEEKEND: [0, 6].includes(new Date(atMs).getUTCDay()) ? 1 : 0,
      TX_DURING_NIGHT: new Date(atMs).getUTCHours() <= 6 ? 1 : 0,
    };
    for (const days of WINDOW_DAYS) {
      const own = within(paid, atMs, days * DAY_MS);
      features[`CUSTOMER_ID_NB_TX_${days}DAY_WINDOW`] = own.length;
      features[`CUSTOMER_ID_AVG_AMOUNT_${days}DAY_WINDOW`] =
        own.reduce((sum, { tx_amount }) => sum + tx_amount, 0) / own.length;
      const known = within(taken, atMs - LABEL_DELAY_MS, days * DAY_MS);
      const frauds = known.filter(({ tx_fraud }) => tx_fraud === 1).length;
      features[`TERMINAL_ID_NB_TX_${days}DAY_WINDOW`] = known.length;
      features[`TERMINAL_ID_RISK_${days}DAY_WINDOW`] = known.length === 0 ? 0 : frauds / known.length;
    }
    return features;
  };
}

function remembered(all: Map<number, Payment[]>, key: number, payment: Payment): readonly Payment[] {
  const own = all.get(key);
  if (own === undefined) {
    all.set(key, [payment]);
    return [payment];
  }
  own.push(payment);
  return own;
}

/** Payments with until − size < time ≤ until. */
function within(payments: readonly Payment[], untilMs: number, sizeMs: number): Payment[] {
  return payments.filter(({ tx_datetime: timeMs }) => untilMs - sizeMs < timeMs && timeMs <= untilMs);
}
