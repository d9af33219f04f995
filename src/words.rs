//! Numbers in sentences: `1 row`, `1,234 rows`.

/// Writes a number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes how many there are, with the words that go with one or with many: a noun, and a verb
/// where one follows. A count is never negative.
pub fn counted(number: impl TryInto<u64>, one: &str, many: &str) -> String {
    let number = number.try_into().unwrap_or_default();
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_from_many() {
        assert_eq!(counted(0_usize, "row", "rows"), "0 rows");
        assert_eq!(counted(1_i64, "row breaks", "rows break"), "1 row breaks");
        assert_eq!(counted(1_234_567_u64, "row", "rows"), "1,234,567 rows");
        assert_eq!(grouped(12), "12");
    }
}
