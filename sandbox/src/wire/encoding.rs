//! Percent and form encoding, strict enough to notice a client's mistake.

/// Decodes `%41` escapes; `None` if an escape is broken or the result is no UTF-8.
pub fn decode_percent(text: &str) -> Option<String> {
    decode(text, false)
}

/// Splits and decodes `a=b&c=d`, with `+` for a space, in the order sent.
pub fn decode_form(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

/// Encodes everything but unreserved characters and those in `kept`.
pub fn encode_percent(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || "-._~".contains(character) || kept.contains(character) {
            encoded.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    encoded
}

fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                decoded.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => decoded.push(b' '),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_only_when_it_is_form_encoded() {
        let pair = |value: &str| Some(vec![("s".to_owned(), value.to_owned())]);
        assert_eq!(decode_form("s=a%2Bb%2Fc%3D~"), pair("a+b/c=~"));
        assert_eq!(decode_form("s=a+b/c=~"), pair("a b/c=~"));
        assert_eq!(decode_form("s=%2"), None);
    }

    #[test]
    fn encoding_and_decoding_are_inverse() {
        let name = "Zażółć #1 50%+'x'.csv";
        assert_eq!(decode_percent(&encode_percent(name, "'")), Some(name.to_owned()));
        assert_eq!(decode_percent("%C3"), None);
    }
}
