/** A shop: what a customer buys and how a product sells, from invoice lines (returns have negative quantities). */
import {
  count,
  distinctCount,
  double,
  entity,
  featureService,
  featureView,
  integer,
  max,
  min,
  streamSource,
  string,
  sum,
  timestamp,
} from 'millrace';

const owner = 'shop';

export const retailLines = streamSource({
  name: 'retail_lines',
  columns: {
    row_no: integer(),
    ts: timestamp(),
    invoice_no: string(),
    stock_code: string(),
    quantity: integer(),
    unit_price: double(),
    // Null on a quarter of the lines: they count for their product but for no customer.
    customer_id: string({ nullable: true }),
    country: string(),
  },
  eventTime: 'ts',
  eventId: 'row_no',
  description: 'Invoice lines; cancelled invoices begin with C and have negative quantities.',
  owner,
  tags: ['retail'],
});

export const customer = entity('customer_id', {
  description: 'A customer of the shop.',
  owner,
  tags: ['retail'],
});
export const product = entity('stock_code', {
  description: 'A product of the shop.',
  owner,
  tags: ['retail'],
});

export const customerLines = featureView({
  name: 'customer_lines',
  source: retailLines,
  entity: customer,
  project: { amount: { type: 'double', from: (event) => event.quantity * event.unit_price } },
  features: {
    CUST_LINES_1H: count().over('1h', { description: 'Lines in 1 hour.' }),
    CUST_LINES_1D: count().over('1d', { description: 'Lines in 1 day.' }),
    CUST_INVOICES_30D: distinctCount('invoice_no').over('30d', {
      description: 'Different invoices in 30 days.',
    }),
    CUST_SKUS_7D: distinctCount('stock_code', { exactUpTo: 4096 }).over('7d', {
      description: 'Different products in 7 days.',
    }),
    CUST_SPEND_30D: sum('amount').over('30d', {
      description: 'Sum of the amounts of 30 days, returns taken off.',
    }),
    CUST_MAX_LINE_7D: max('amount').over('7d', { description: 'Largest amount of a line in 7 days.' }),
    CUST_MIN_LINE_7D: min('amount').over('7d', { description: 'Smallest amount of a line in 7 days.' }),
  },
  description: 'What a customer buys.',
  owner,
  tags: ['retail', 'customer'],
});

export const customerReturns = featureView({
  name: 'customer_returns',
  source: retailLines,
  entity: customer,
  filter: (event) => event.quantity < 0,
  features: { CUST_RETURN_LINES_30D: count().over('30d', { description: 'Lines taken back in 30 days.' }) },
  description: 'What a customer gives back.',
  owner,
  tags: ['retail', 'customer'],
});

export const productSales = featureView({
  name: 'product_sales',
  source: retailLines,
  entity: product,
  features: {
    SKU_QTY_1D: sum('quantity').over('1d', { description: 'Pieces sold in 1 day, returns taken off.' }),
    SKU_CUSTOMERS_1D: distinctCount('customer_id').over('1d', {
      description: 'Different known customers in 1 day.',
    }),
  },
  description: 'How a product sells.',
  owner,
  tags: ['retail', 'product'],
});

export const retailCustomer = featureService({
  name: 'retail_customer',
  features: [
    customerLines.feature.CUST_LINES_1H,
    customerLines.feature.CUST_LINES_1D,
    customerLines.feature.CUST_INVOICES_30D,
    customerLines.feature.CUST_SKUS_7D,
    customerLines.feature.CUST_SPEND_30D,
    customerReturns.feature.CUST_RETURN_LINES_30D,
    customerLines.feature.CUST_MAX_LINE_7D,
    customerLines.feature.CUST_MIN_LINE_7D,
  ],
  description: 'Features of a customer.',
  owner,
  tags: ['retail'],
});

/** A service of its own, as a line may have no customer to ask for. */
export const retailProduct = featureService({
  name: 'retail_product',
  features: [productSales],
  description: 'Features of a product.',
  owner,
  tags: ['retail'],
});
