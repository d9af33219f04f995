//! Money as whole cents, and the ways it is spoilt and printed.

/// Prints cents as an exact decimal with two digits, such as `-3.05`.
pub(super) fn decimal(cents: i64) -> String {
    scaled(cents, 2)
}

/// Prints a whole number of units of `10^-digits` as an exact decimal.
pub(super) fn scaled(units: i64, digits: u32) -> String {
    let one = 10_u64.pow(digits);
    let sign = if units < 0 { "-" } else { "" };
    let units = units.unsigned_abs();
    let width = digits as usize;
    format!("{sign}{}.{:0width$}", units / one, units % one)
}

/// Rounds to whole units.
pub(super) fn whole(value: f64) -> i64 {
    // The generator's amounts stay far below 2^53, where the cast is exact.
    value.round() as i64
}

/// Gives the float a spreadsheet holds after adding up prices: at times a few
/// units in the last place beside the cents, like `32.019999999999996`. It
/// still rounds to the cents.
pub(super) fn noisy(cents: i64, salt: usize) -> f64 {
    let exact = cents as f64 / 100.0;
    if cents == 0 {
        return exact;
    }
    let mixed = (salt as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(cents.unsigned_abs().wrapping_mul(0xbf58_476d_1ce4_e5b9));
    match (mixed >> 40) % 8 {
        0 | 1 => exact.next_down(),
        2 => exact.next_up(),
        3 => exact.next_up().next_up(),
        _ => exact,
    }
}

/// Splits an amount by weights into whole parts that add up to it exactly. A
/// part without weight gets nothing.
pub(super) fn split<const N: usize>(amount: i64, weights: &[f64; N]) -> [i64; N] {
    let total: f64 = weights.iter().sum();
    let mut parts = [0; N];
    if amount == 0 || total <= 0.0 {
        return parts;
    }
    for (part, weight) in parts.iter_mut().zip(weights) {
        *part = (amount as f64 * weight / total).floor() as i64;
    }
    let mut rest = amount - parts.iter().sum::<i64>();
    while rest != 0 {
        for (part, weight) in parts.iter_mut().zip(weights) {
            if *weight > 0.0 && rest != 0 {
                *part += rest.signum();
                rest -= rest.signum();
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_keeps_zeros_and_sign() {
        assert_eq!(decimal(-305), "-3.05");
        assert_eq!(decimal(120_000), "1200.00");
        assert_eq!(scaled(5, 4), "0.0005");
    }

    #[test]
    fn a_noisy_float_still_rounds_to_its_cents() {
        for cents in (1..2_000_000).step_by(37) {
            let float = noisy(cents, cents as usize % 13);
            assert_eq!((float * 100.0).round() as i64, cents);
            assert_eq!(format!("{float:.2}"), decimal(cents));
        }
    }

    #[test]
    fn parts_add_up_and_follow_weights() {
        let parts = split(1001, &[0.0, 1.0, 3.0]);
        assert_eq!(parts.iter().sum::<i64>(), 1001);
        assert_eq!(parts[0], 0);
        assert!(parts[2] > parts[1]);
    }
}
