-- Orders, pizzas and sales of a day, at the prices of the menu.
SELECT
    o.ordered_on,
    count(DISTINCT o.order_id) AS orders,
    sum(d.quantity)::bigint AS pizzas,
    sum(d.quantity * p.price) AS sales
FROM orders o
JOIN order_details d USING (order_id)
JOIN pizzas p USING (pizza_id)
GROUP BY o.ordered_on
