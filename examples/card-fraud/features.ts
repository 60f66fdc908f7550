/**
 * Card fraud: how often and how much a customer spends, and how risky a terminal has been, at swipe time.
 *
 * The features of `card_fraud` and their names are those of chapter 3 of Le Borgne, Siblini, Lebichot, Bontempi,
 * *Reproducible Machine Learning for Credit Card Fraud Detection* (ULB, 2022).
 */
import {
  count,
  double,
  entity,
  featureService,
  featureView,
  integer,
  last,
  mean,
  onDemandFeature,
  stddevSamp,
  streamSource,
  sum,
  timestamp,
} from 'millrace';

const owner = 'card-risk';

export const cardTransactions = streamSource({
  name: 'card_transactions',
  columns: {
    transaction_id: integer(),
    tx_datetime: timestamp(),
    customer_id: integer(),
    terminal_id: integer(),
    tx_amount: double(),
    tx_fraud: integer(),
  },
  eventTime: 'tx_datetime',
  eventId: 'transaction_id',
  description: 'Card payments; tx_fraud is 1 where the payment turned out to be fraudulent, otherwise 0.',
  owner,
  tags: ['payments'],
});

export const customer = entity('customer_id', { description: 'The card holder.', owner, tags: ['payments'] });
export const terminal = entity('terminal_id', {
  description: 'The payment terminal.',
  owner,
  tags: ['payments'],
});

/** A label is known a week after the payment: payment and label enter the windows together, a week late. */
const LABEL_DELAY = '7d';

export const customerSpend = featureView({
  name: 'customer_spend',
  source: cardTransactions,
  entity: customer,
  features: {
    CUSTOMER_ID_NB_TX_1DAY_WINDOW: count().over('1d', { description: 'Payments of the customer in 1 day.' }),
    CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW: mean('tx_amount').over('1d', { description: 'Their mean amount.' }),
    CUSTOMER_ID_NB_TX_7DAY_WINDOW: count().over('7d', { description: 'Payments of the customer in 7 days.' }),
    CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW: mean('tx_amount').over('7d', { description: 'Their mean amount.' }),
    CUSTOMER_ID_NB_TX_30DAY_WINDOW: count().over('30d', {
      description: 'Payments of the customer in 30 days.',
    }),
    CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW: mean('tx_amount').over('30d', { description: 'Their mean amount.' }),
    customer_amount_stddev_30d: stddevSamp('tx_amount').over('30d', {
      description: 'Sample standard deviation of the amounts of 30 days; null for fewer than two payments.',
    }),
    customer_last_tx_at: last('tx_datetime').over('30d', {
      description: 'Time of the latest payment of the last 30 days, ms since the epoch.',
    }),
  },
  asOfRetention: '1d',
  description: 'How often and how much a customer has paid.',
  owner,
  tags: ['payments', 'customer'],
});

export const terminalRisk = featureView({
  name: 'terminal_risk',
  source: cardTransactions,
  entity: terminal,
  features: {
    TERMINAL_ID_NB_TX_1DAY_WINDOW: count().over('1d', {
      offset: LABEL_DELAY,
      description: 'Payments at the terminal in the 1 day that ended a week ago.',
    }),
    TERMINAL_ID_NB_TX_7DAY_WINDOW: count().over('7d', {
      offset: LABEL_DELAY,
      description: 'Payments at the terminal in the 7 days that ended a week ago.',
    }),
    TERMINAL_ID_NB_TX_30DAY_WINDOW: count().over('30d', {
      offset: LABEL_DELAY,
      description: 'Payments at the terminal in the 30 days that ended a week ago.',
    }),
    terminal_frauds_1d: sum('tx_fraud').over('1d', {
      offset: LABEL_DELAY,
      description: 'Frauds among these, 1 day.',
    }),
    terminal_frauds_7d: sum('tx_fraud').over('7d', {
      offset: LABEL_DELAY,
      description: 'Frauds among these, 7 days.',
    }),
    terminal_frauds_30d: sum('tx_fraud').over('30d', {
      offset: LABEL_DELAY,
      description: 'Frauds among these, 30 days.',
    }),
  },
  asOfRetention: '1d',
  description: 'Payments and frauds at a terminal, as known a week later.',
  owner,
  tags: ['payments', 'terminal'],
});

/** Share of frauds; 0 where there were no payments. */
const share = ({ features }: { features: { frauds: number | bigint; payments: number } }): number =>
  features.payments === 0 ? 0 : Number(features.frauds) / features.payments;

const shareTags = ['payments', 'terminal'];

export const terminalRisk1d = onDemandFeature({
  name: 'TERMINAL_ID_RISK_1DAY_WINDOW',
  type: 'double',
  inputs: {
    frauds: terminalRisk.feature.terminal_frauds_1d,
    payments: terminalRisk.feature.TERMINAL_ID_NB_TX_1DAY_WINDOW,
  },
  compute: share,
  description: 'Share of frauds among the payments of the 1 day that ended a week ago; 0 if there were none.',
  owner,
  tags: shareTags,
});

export const terminalRisk7d = onDemandFeature({
  name: 'TERMINAL_ID_RISK_7DAY_WINDOW',
  type: 'double',
  inputs: {
    frauds: terminalRisk.feature.terminal_frauds_7d,
    payments: terminalRisk.feature.TERMINAL_ID_NB_TX_7DAY_WINDOW,
  },
  compute: share,
  description:
    'Share of frauds among the payments of the 7 days that ended a week ago; 0 if there were none.',
  owner,
  tags: shareTags,
});

export const terminalRisk30d = onDemandFeature({
  name: 'TERMINAL_ID_RISK_30DAY_WINDOW',
  type: 'double',
  inputs: {
    frauds: terminalRisk.feature.terminal_frauds_30d,
    payments: terminalRisk.feature.TERMINAL_ID_NB_TX_30DAY_WINDOW,
  },
  compute: share,
  description:
    'Share of frauds among the payments of the 30 days that ended a week ago; 0 if there were none.',
  owner,
  tags: shareTags,
});

export const txDuringWeekend = onDemandFeature({
  name: 'TX_DURING_WEEKEND',
  type: 'integer',
  compute: ({ atMs }) => ([0, 6].includes(new Date(atMs).getUTCDay()) ? 1 : 0),
  description: '1 on Saturday and Sunday, UTC.',
  owner,
  tags: ['time'],
});

export const txDuringNight = onDemandFeature({
  name: 'TX_DURING_NIGHT',
  type: 'integer',
  compute: ({ atMs }) => (new Date(atMs).getUTCHours() <= 6 ? 1 : 0),
  description: '1 from 00:00:00 to 06:59:59, UTC.',
  owner,
  tags: ['time'],
});

export const cardFraud = featureService({
  name: 'card_fraud',
  features: [
    txDuringWeekend,
    txDuringNight,
    customerSpend.feature.CUSTOMER_ID_NB_TX_1DAY_WINDOW,
    customerSpend.feature.CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW,
    customerSpend.feature.CUSTOMER_ID_NB_TX_7DAY_WINDOW,
    customerSpend.feature.CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW,
    customerSpend.feature.CUSTOMER_ID_NB_TX_30DAY_WINDOW,
    customerSpend.feature.CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW,
    terminalRisk.feature.TERMINAL_ID_NB_TX_1DAY_WINDOW,
    terminalRisk1d,
    terminalRisk.feature.TERMINAL_ID_NB_TX_7DAY_WINDOW,
    terminalRisk7d,
    terminalRisk.feature.TERMINAL_ID_NB_TX_30DAY_WINDOW,
    terminalRisk30d,
  ],
  description: 'The baseline features of a fraud model.',
  owner,
  tags: ['payments', 'model-input'],
});

export const amountZScore = onDemandFeature({
  name: 'amount_z_score_30d',
  type: 'double',
  inputs: {
    mean: customerSpend.feature.CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW,
    stddev: customerSpend.feature.customer_amount_stddev_30d,
  },
  request: { tx_amount: double() },
  compute: ({ features: { mean, stddev }, request }) =>
    mean === null || stddev === null || stddev === 0 ? null : (request.tx_amount - mean) / stddev,
  description:
    "How many standard deviations the amount lies above the customer's 30-day mean; null where there is no deviation yet.",
  owner,
  tags: ['payments', 'customer'],
});

export const amountToMean = onDemandFeature({
  name: 'amount_to_mean_30d',
  type: 'double',
  inputs: { mean: customerSpend.feature.CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW },
  request: { tx_amount: double() },
  compute: ({ features: { mean }, request }) =>
    mean === null || mean === 0 ? null : request.tx_amount / mean,
  description: "The amount divided by the customer's 30-day mean; null where there is none.",
  owner,
  tags: ['payments', 'customer'],
});

export const secondsSinceLastTx = onDemandFeature({
  name: 'seconds_since_last_tx',
  type: 'double',
  inputs: { lastAt: customerSpend.feature.customer_last_tx_at },
  compute: ({ features: { lastAt }, atMs }) => (lastAt === null ? null : (atMs - lastAt) / 1000),
  description: "Seconds since the customer's latest payment of the last 30 days; null where there is none.",
  owner,
  tags: ['payments', 'customer'],
});

export const cardDecision = featureService({
  name: 'card_decision',
  features: [
    amountZScore,
    amountToMean,
    secondsSinceLastTx,
    customerSpend.feature.CUSTOMER_ID_NB_TX_1DAY_WINDOW,
    customerSpend.feature.CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW,
    customerSpend.feature.customer_amount_stddev_30d,
    terminalRisk7d,
  ],
  description: 'The payment being decided, against what the customer usually does.',
  owner,
  tags: ['payments', 'decision'],
});
