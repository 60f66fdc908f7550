-- Recomputes features of a training set with window functions and counts the rows that differ: 0 in each column is right.
-- DuckDB, in the folder with payments.csv and training.parquet.
--
-- RANGE counts every event of a row's own second; the training set counts them up to the row's event. So in a second with several
-- payments of one customer the row counts that has the last of them. The times are whole seconds: (T - 1 d, T] is the
-- 86,399 seconds before T, and T.
WITH computed AS (
  SELECT
    transaction_id,
    count(*) OVER last_day AS payments_1d,
    avg(tx_amount) OVER last_month AS mean_30d,
    count(*) OVER known_week AS terminal_7d,
    row_number() OVER (PARTITION BY customer_id, tx_datetime ORDER BY transaction_id DESC) = 1 AS is_last
  FROM read_csv('payments.csv')
  WINDOW
    last_day AS (
      PARTITION BY customer_id ORDER BY tx_datetime
      RANGE BETWEEN INTERVAL 86399 SECONDS PRECEDING AND CURRENT ROW),
    last_month AS (
      PARTITION BY customer_id ORDER BY tx_datetime
      RANGE BETWEEN INTERVAL 2591999 SECONDS PRECEDING AND CURRENT ROW),
    known_week AS (
      PARTITION BY terminal_id ORDER BY tx_datetime
      RANGE BETWEEN INTERVAL 1209599 SECONDS PRECEDING AND INTERVAL 7 DAYS PRECEDING)
)
SELECT
  count(*) AS compared,
  count(*) FILTER (payments_1d <> CUSTOMER_ID_NB_TX_1DAY_WINDOW) AS payments_1d_differ,
  count(*) FILTER (abs(mean_30d - CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW) > 1e-9) AS mean_30d_differ,
  count(*) FILTER (terminal_7d <> TERMINAL_ID_NB_TX_7DAY_WINDOW) AS terminal_7d_differ
FROM 'training.parquet' JOIN computed USING (transaction_id)
WHERE is_last;
