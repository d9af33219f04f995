//! Escaping, colours and small helpers of drawings. Pure.

/// The colours of series, in the order in which Metabase takes them.
pub(super) const COLORS: [&str; 8] =
    ["#509EE3", "#88BF4D", "#A989C5", "#EF8C8C", "#F9D45C", "#F2A86F", "#98D9D9", "#7172AD"];

/// Writes text so that it is text in HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A colour that comes from a file: nothing but a colour.
pub(super) fn color(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('#')?;
    ([3, 6, 8].contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit())).then_some(text)
}

/// About how wide a text is, in the size of axes.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 6.1
}

/// Shortens a label to a width.
pub(super) fn fitted(text: &str, width: f64) -> String {
    let most = (width / 6.1).floor().max(1.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A text of a drawing; `anchor` is start, middle or end.
pub(super) fn text(x: f64, y: f64, anchor: &str, class: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>", escaped(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_becomes_markup() {
        assert_eq!(escaped("<script>\"a\" & 'b'"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;");
        assert_eq!(color("#EF8C8C"), Some("#EF8C8C"));
        assert_eq!(color("red;background:url(x)"), None);
    }

    #[test]
    fn a_long_label_ends_with_dots() {
        assert_eq!(fitted("000101 Riverside", 61.0), "000101 Ri…");
        assert_eq!(fitted("short", 61.0), "short");
    }
}
