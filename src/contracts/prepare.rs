//! Texts as the converters expect them: null words gone, the point as decimal mark.
//!
//! Whole columns are made anew only where a definition asks for it, so that a
//! column without these options costs nothing here.

use std::borrow::Cow;

use arrow::array::{Array, StringArray};
use arrow::buffer::Buffer;

use super::contract::{Column, ColumnType, Contract, DecimalMark};

/// Answers with the texts to convert; positions stay as they are.
pub(super) fn prepared<'t>(contract: &Contract, column: &Column, texts: &'t StringArray) -> Cow<'t, StringArray> {
    let mut texts = Cow::Borrowed(texts);
    if !contract.null_words.is_empty() || !column.null_words.is_empty() {
        let means_nothing = |text: &str| {
            let text = text.trim();
            contract.null_words.iter().chain(&column.null_words).any(|word| word == text)
        };
        texts = Cow::Owned(texts.iter().map(|text| text.filter(|text| !means_nothing(text))).collect());
    }
    let numbers = matches!(column.column_type, ColumnType::Integer | ColumnType::Decimal { .. });
    if numbers && column.decimal_mark == Some(DecimalMark::Comma) {
        texts = Cow::Owned(exchanged(&texts));
    }
    texts
}

/// Exchanges comma and point in a whole column at once.
fn exchanged(texts: &StringArray) -> StringArray {
    let bytes: Vec<u8> = texts
        .value_data()
        .iter()
        .map(|byte| match byte {
            b',' => b'.',
            b'.' => b',',
            other => *other,
        })
        .collect();
    StringArray::try_new(texts.offsets().clone(), Buffer::from(bytes), texts.nulls().cloned())
        .expect("one ASCII byte for another leaves UTF-8 and its offsets as they are")
}

/// Whether a number whose mark is the point uses the comma for anything but
/// groups of three: such a number was written the other way.
pub(super) fn misgrouped(text: &str) -> bool {
    let Some(comma) = text.find(',') else { return false };
    let whole = &text[..text.find('.').unwrap_or(text.len())];
    if comma >= whole.len() {
        return true;
    }
    whole.split(',').skip(1).any(|group| {
        let digits = group.bytes().take_while(u8::is_ascii_digit).count();
        digits != 3
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_that_does_not_group_is_the_other_mark() {
        for text in ["1,234", "$1,234,567.80", "12.5", "(1,234)", "12"] {
            assert!(!misgrouped(text), "{text}");
        }
        for text in ["1,5", "12,50", "1.234,50", "1,23,4", "1,2345"] {
            assert!(misgrouped(text), "{text}");
        }
    }

    #[test]
    fn marks_are_exchanged_and_empty_cells_stay_empty() {
        let texts = StringArray::from(vec![Some("1.234,50"), None, Some("é,")]);
        assert_eq!(exchanged(&texts), StringArray::from(vec![Some("1,234.50"), None, Some("é.")]));
    }
}
