-- Sales and profit of a month and state, beside what was planned.
SELECT
    month_starts_on,
    market,
    state,
    sum(sales) AS sales,
    sum(budget_sales) AS budget_sales,
    sum(sales - budget_sales) AS variance,
    sum(profit) AS profit,
    sum(budget_profit) AS budget_profit
FROM budget_actual
GROUP BY month_starts_on, market, state
