//! Patterns of names as people type them: `Sales Channel*.xlsx`, `Week ?`.

use unicode_normalization::UnicodeNormalization as _;

/// A pattern of `*` (any text) and `?` (one character). Case does not count, as
/// in the drives themselves, nor how an accent is spelled in Unicode.
#[derive(Debug, Clone)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// Takes a pattern; every text is one.
    pub fn new(pattern: &str) -> Self {
        Self(plain(pattern))
    }

    /// Says whether a name fits. Takes time in the product of both lengths at worst.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (&self.0, plain(name));
        let (mut p, mut n) = (0, 0);
        // Where the last star stands, and up to where it has eaten.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((at, eaten)) = star else {
                        return false;
                    };
                    star = Some((at, eaten + 1));
                    p = at + 1;
                    n = eaten + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

fn plain(text: &str) -> Vec<char> {
    text.nfc().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).matches(name)
    }

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        assert!(fits("Sales Channel*.xlsx", "sales channel - Daily 2025-11-28.XLSX"));
        assert!(fits("Sales Channel*.xlsx", "Sales Channel.xlsx"));
        assert!(!fits("Sales Channel*.xlsx", "Sales Channel.xlsx.tmp"));
        assert!(!fits("Sales Channel*.xlsx", "~$Sales Channel.xlsx"));
        assert!(fits("*", ""));
        assert!(fits("**a*b?", "xxabab1"));
        assert!(!fits("?", ""));
        assert!(!fits("", "a"));
        assert!(fits("week_?.csv", "week_7.csv"));
        assert!(!fits("a[b].csv", "ab.csv"));
        let stars = "*a".repeat(50);
        assert!(!fits(&stars, &"a".repeat(49)));
    }

    #[test]
    fn an_accent_counts_the_same_however_it_is_spelled() {
        assert!(fits("Café*.csv", "Cafe\u{301} Nord.csv"));
        assert!(fits("CAFE\u{301}*.csv", "Café.csv"));
        assert!(!fits("Cafe*.csv", "Café.csv"));
    }
}
