//! Splits what a daypart sold over the ways it was ordered.
//!
//! Orders are dealt one by one, as they come; the money follows the orders and
//! adds up to the daypart's to the cent.

use chrono::NaiveDate;

use super::calendar::DAYPARTS;
use super::money::split;
use super::random::Stream;
use super::sales::Sold;

/// How many ways to order there are.
pub(super) const WAYS: usize = 10;

/// Source actor and source channel of every way to order.
pub(super) const CHANNELS: [(&str, &str); WAYS] = [
    ("iOS", "App"),
    ("Android", "App"),
    ("Desktop Web", "Web"),
    ("Mobile Web", "Web"),
    ("In Person", "Phone"),
    ("In Person", "Call Centre"),
    ("In Person", "Store"),
    ("DishDash", "Aggregator"),
    ("PlateRunner", "Aggregator"),
    ("TasteCab", "Aggregator"),
];

/// Splits one daypart of a store's day.
pub(super) fn deal(
    seed: u64,
    store_key: &str,
    shares: &[f64; WAYS],
    date: NaiveDate,
    part: usize,
    sold: Sold,
) -> [Sold; WAYS] {
    let mut stream = Stream::on(seed, &["channels", store_key, DAYPARTS[part].name], date);
    let mut orders = [0_u32; WAYS];
    let total: f64 = shares.iter().sum();
    for _ in 0..sold.orders {
        let mut point = stream.between(0.0, total);
        let channel = shares.iter().position(|share| {
            point -= share;
            point < 0.0
        });
        orders[channel.unwrap_or(6)] += 1;
    }
    let net = orders.map(|orders| f64::from(orders) * stream.between(0.8, 1.2));
    let discount = orders.map(|orders| f64::from(orders) * stream.between(0.3, 1.7));
    let net = split(sold.net_cents, &net);
    let discount = split(sold.discount_cents, &discount);
    std::array::from_fn(|channel| Sold {
        net_cents: net[channel],
        orders: orders[channel],
        discount_cents: discount[channel],
    })
}

#[cfg(test)]
mod tests {
    use super::super::calendar::day;
    use super::*;

    #[test]
    fn channels_add_up_to_the_daypart() {
        let sold = Sold { net_cents: 123_457, orders: 51, discount_cents: 9_999 };
        let parts = deal(7, "harbor/000101", &[1.0; WAYS], day(2025, 11, 28), 3, sold);
        let mut sum = Sold::default();
        for part in &parts {
            assert_eq!(part.net_cents == 0, part.orders == 0);
            sum = sum.plus(*part);
        }
        assert_eq!(sum, sold);
    }
}
