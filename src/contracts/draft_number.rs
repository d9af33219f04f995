//! How the numbers of a column are written: how many digits they need, and
//! whether comma and point can be told apart.

use super::contract::DecimalMark;
use super::values;

/// Digits that a number may have behind the point before it may be a float's noise.
const NOISY: i8 = 9;
/// Digits of the longest float.
const FLOAT_DIGITS: usize = 17;
/// The most digits behind the point that are kept.
const DEEPEST: i8 = 18;

/// What the numbers of a column need.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbers {
    /// How many values are numbers.
    pub(super) count: u64,
    /// Digits before the point, at most.
    pub(super) whole: usize,
    /// Digits behind it, at most.
    pub(super) scale: i8,
    /// Values written with digits behind the point that are not all one zero, as floats write whole numbers.
    pub(super) fractions: u64,
    /// Values that carry a float's noise, such as `32.019999999999996`.
    pub(super) noisy: u64,
    /// Values with zeros in front that a number would lose.
    pub(super) leading_zeros: u64,
    /// Values written with an exponent.
    pub(super) exponents: u64,
    /// Values with a sign of currency or percent.
    pub(super) signs: u64,
    /// Values with a plus in front, as telephone numbers have.
    pub(super) plus: u64,
    /// `12,5`: the comma must be a decimal sign.
    pub(super) decimal_commas: u64,
    /// `1,234` or, among decimal commas, `1.234`: it may be either.
    pub(super) lone_commas: u64,
    /// `12.5`, `1,234.5`: the point must be the decimal sign.
    pub(super) decimal_points: u64,
    pub(super) lone_points: u64,
    /// Values with more than one comma.
    pub(super) grouped: u64,
}

impl Numbers {
    /// Takes a value; answers whether it is a number.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.count += 1;
            self.leading_zeros += u64::from(!negative && digits.len() > 1 && digits.starts_with('0'));
            self.whole = self.whole.max(digits.trim_start_matches('0').len());
            return true;
        }
        if values::decimal(text, 38, 0).is_err() {
            return false;
        }
        self.count += 1;
        self.plus += u64::from(text.starts_with('+'));
        self.exponents += u64::from(text.contains(['e', 'E']));
        self.signs += u64::from(text.contains(['$', '€', '£', '%']));
        let bare: String = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect();
        self.leading_zeros +=
            u64::from(bare.len() > 1 && bare.starts_with('0') && bare[1..].starts_with(|c: char| c.is_ascii_digit()));
        self.grouped += u64::from(bare.matches(',').count() > 1 || bare.contains(',') && bare.contains('.'));
        match (bare.rfind('.'), bare.rfind(',')) {
            (None, Some(comma)) if bare.matches(',').count() == 1 => {
                let groups = bare.len() - comma == 4 && (1..=3).contains(&comma);
                *(if groups { &mut self.lone_commas } else { &mut self.decimal_commas }) += 1;
            }
            (Some(point), Some(comma)) if comma > point => self.decimal_commas += 1,
            (Some(point), None) if bare.len() - point == 4 && (1..=3).contains(&point) => self.lone_points += 1,
            (Some(_), None) if bare.matches('.').count() == 1 => self.decimal_points += 1,
            (Some(point), Some(comma)) if point > comma => self.decimal_points += 1,
            _ => {}
        }
        self.measure(text, &bare);
        true
    }

    fn measure(&mut self, text: &str, bare: &str) {
        // What a plain `12.50` needs can be counted; the rest is found by trying.
        let plain = bare.trim_start_matches('-') == text.trim_start_matches('-') && bare.matches('.').count() == 1;
        let written = plain.then(|| bare.split_once('.').map_or(0, |(_, fraction)| fraction.len()));
        let scale = match written {
            Some(length) if length <= usize::from(NOISY.unsigned_abs()) && !bare.contains(',') => length as i8,
            _ => needed(text, 0.0),
        };
        let mut kept = scale;
        // No float is written with more digits than these.
        let digits = bare.chars().filter(char::is_ascii_digit).skip_while(|digit| *digit == '0').count();
        if scale >= NOISY && digits <= FLOAT_DIGITS {
            let meant = needed(text, 1e-15);
            if meant + 5 <= scale {
                kept = meant;
                self.noisy += 1;
            }
        }
        let fraction = bare.split_once('.').map(|(_, fraction)| fraction);
        self.fractions += u64::from(kept > 0 && fraction != Some("0"));
        self.scale = self.scale.max(kept);
        if let Ok(value) = values::decimal(text, 38, 0) {
            let digits = value.unsigned_abs().checked_ilog10().map_or(0, |log| log as usize + 1);
            self.whole = self.whole.max(digits);
        }
    }

    /// Which sign is the decimal one; `None` where the values contradict each other
    /// or leave it open. A column without commas needs no answer.
    pub(super) fn mark(&self) -> Option<DecimalMark> {
        match (self.decimal_commas, self.decimal_points) {
            (1.., 0) => Some(DecimalMark::Comma),
            (0, 1..) => Some(DecimalMark::Point),
            _ => None,
        }
    }

    /// Whether each value can be read in one way only.
    pub(super) fn unambiguous(&self) -> bool {
        // What only groups is no fraction, whichever sign it uses.
        self.mark().is_some() || self.decimal_commas == 0 && (self.lone_commas == 0 || self.fractions == 0)
    }

    /// Digits behind the point, where a lone sign may turn out to be the decimal one.
    pub(super) fn digits_behind(&self) -> i8 {
        let lone = self.mark() == Some(DecimalMark::Comma) && self.lone_commas > 0;
        if lone { self.scale.max(3) } else { self.scale }
    }
}

/// The fewest digits behind the point that leave the value as it is, but for a
/// share of it that may be noise.
fn needed(text: &str, noise: f64) -> i8 {
    let deepest = (0..=DEEPEST).rev().find_map(|scale| Some((scale, values::decimal(text, 38, scale).ok()?)));
    let Some((deepest, exact)) = deepest else { return 0 };
    let allowed = (exact.unsigned_abs() as f64 * noise) as u128;
    (0..deepest)
        .find(|scale| {
            let rounded = values::decimal(text, 38, *scale).unwrap_or_default();
            let back = rounded.checked_mul(10_i128.pow(u32::from((deepest - scale).unsigned_abs())));
            back.is_some_and(|back| back.abs_diff(exact) <= allowed)
        })
        .unwrap_or(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Numbers {
        let mut numbers = Numbers::default();
        for text in texts {
            assert!(numbers.take(text), "{text}");
        }
        numbers
    }

    #[test]
    fn digits_are_counted_however_a_number_is_written() {
        for (text, whole, scale) in [
            ("12.50", 2, 2),
            ("-3", 1, 0),
            ("$1,234.50", 4, 1),
            ("12,5 %", 0, 3),
            ("1E-05", 0, 5),
            ("32.019999999999996", 2, 2),
            ("0.3333333333333333", 0, 16),
            ("123456789012.345678901", 12, 9),
        ] {
            let numbers = of(&[text]);
            assert_eq!((numbers.whole, numbers.scale), (whole, scale), "{text}");
        }
    }

    #[test]
    fn a_comma_that_may_be_either_sign_is_noticed() {
        assert!(of(&["1,234", "999"]).unambiguous());
        assert!(of(&["1,25", "2,5"]).unambiguous());
        assert_eq!(of(&["1,25", "1,125"]).mark(), Some(DecimalMark::Comma));
        assert_eq!(of(&["1,25", "1,125"]).digits_behind(), 3);
        assert_eq!(of(&["1,234", "1.5"]).mark(), Some(DecimalMark::Point));
        assert!(!of(&["1,25", "1.5"]).unambiguous());
        assert!(!of(&["1,234", "1.125"]).unambiguous());
    }
}
