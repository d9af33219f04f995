//! Plain numbers: digits with at most one point among them, which is how nearly every
//! number in a file is written. Whoever meets another one reads it the long way.

/// Digits that fit a machine word, and are read all at once.
const WORD: usize = 8;
/// More digits might not fit the value.
const MOST: usize = 19;

/// A plain number: `value / 10^places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    /// All digits, as if there were no point.
    pub value: u64,
    /// How many of them stand behind the point.
    pub places: u32,
}

/// Reads a plain number of up to 19 characters; anything else is none.
#[inline]
pub fn digits(text: &[u8]) -> Option<Digits> {
    match text.len() {
        0 => None,
        1..=WORD => short(text),
        _ => long(text),
    }
}

/// Reads without a branch that depends on the digits: cells of a column differ in length
/// and in where their point stands, which a processor cannot foresee.
#[inline]
fn short(text: &[u8]) -> Option<Digits> {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; WORD]);
    const POINTS: u64 = u64::from_ne_bytes([b'.'; WORD]);
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; WORD]);
    const HIGH_HALVES: u64 = u64::from_ne_bytes([0xf0; WORD]);
    let length = text.len();
    // The characters in a word, the last one highest, and zeros in place of those it lacks.
    let ends = match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4))
        }
        _ => [0, length / 2, length - 1].iter().fold(0, |word, at| word | u64::from(text[*at]) << (8 * at)),
    };
    let lacking = 8 * (WORD - length);
    let mut word = ends << lacking | ZEROS & !(u64::MAX << lacking);
    // The high bit of each byte that is a point.
    let differing = word ^ POINTS;
    let points = !(((differing & LOW_BITS) + LOW_BITS) | differing | LOW_BITS);
    let mut places = 0;
    if points != 0 {
        // What stands before the first point moves into its place. A second one is no digit.
        let at = points.trailing_zeros() - 7;
        let (before, behind) = (word & !(u64::MAX << at), word & (u64::MAX << at << 8));
        word = behind | before << 8 | u64::from(b'0');
        places = (56 - at) / 8;
    }
    // From `0` to `9` the high half is 3, and stays so when six are added.
    let sixes = word.wrapping_add(ZEROS / 8);
    if (word & HIGH_HALVES) != ZEROS || (sixes & HIGH_HALVES) != ZEROS || text == b"." {
        return None;
    }
    // Neighbours join: digits to pairs, pairs to fours, fours to the number.
    let pairs = word - ZEROS;
    let pairs = (pairs * 10 + (pairs >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    Some(Digits { value, places })
}

fn long(text: &[u8]) -> Option<Digits> {
    if text.len() > MOST {
        return None;
    }
    let (mut value, mut places) = (0, None);
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + u64::from(byte - b'0');
                places = places.map(|places| places + 1);
            }
            b'.' if places.is_none() => places = Some(0),
            _ => return None,
        }
    }
    Some(Digits { value, places: places.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_and_one_by_one_come_to_the_same() {
        let signs = b"0179.:/-,\xff\0e";
        for length in 1..=4 {
            for number in 0..signs.len().pow(length) {
                let text: Vec<u8> = (0..length).map(|at| signs[number / signs.len().pow(at) % signs.len()]).collect();
                let expected = long(&text).filter(|_| text != b".");
                assert_eq!(short(&text), expected, "{text:?}");
                // In the middle of others.
                let wide = [b"98", &text[..], b"76"].concat();
                assert_eq!(short(&wide), long(&wide), "{wide:?}");
            }
        }
    }

    #[test]
    fn a_plain_number_has_digits_and_at_most_one_point() {
        let read = |text: &str| digits(text.as_bytes()).map(|digits| (digits.value, digits.places));
        for (text, value) in [
            ("7", (7, 0)),
            ("000125", (125, 0)),
            ("1234.50", (123_450, 2)),
            ("5.", (5, 0)),
            (".5", (5, 1)),
            ("99999999", (99_999_999, 0)),
            ("1234567.8", (12_345_678, 1)),
            ("9999999999999999999", (9_999_999_999_999_999_999, 0)),
        ] {
            assert_eq!(read(text), Some(value), "{text}");
        }
        for text in ["", ".", "-1", "1.2.3", "12a", "1,5", "1e3", "½", "10000000000000000000", "12.345.67", "12345678a"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
