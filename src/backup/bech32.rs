//! Bech32 (BIP 173), as age writes its keys.

const LETTERS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Reads a text with a known prefix; nothing where it is anything else.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let lower = text.to_ascii_lowercase();
    // Mixed letters are refused: a checksum counts one case only.
    if text != lower && text != text.to_ascii_uppercase() {
        return None;
    }
    let data = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let values: Vec<u8> = data
        .bytes()
        .map(|byte| LETTERS.iter().position(|letter| *letter == byte).and_then(|at| u8::try_from(at).ok()))
        .collect::<Option<_>>()?;
    let spread = prefix.bytes().map(|byte| byte >> 5).chain([0]).chain(prefix.bytes().map(|byte| byte & 31));
    if values.len() < 6 || checksum(spread.chain(values.iter().copied())) != 1 {
        return None;
    }
    bytes_of(&values[..values.len() - 6])
}

fn checksum(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1).fold(next, |sum, (_, part)| sum ^ part)
    })
}

/// Groups of five bits to bytes; what is left over must be zeros, fewer than five.
fn bytes_of(values: &[u8]) -> Option<Vec<u8>> {
    let (mut held, mut bits, mut bytes) = (0_u32, 0, Vec::new());
    for value in values {
        held = held << 5 | u32::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    (bits < 5 && held == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_no_key() {
        let key = "age1zl5szxnapqh03kwvmhfrd55nnpe2lxjzyuvx0ukqyha8y2pxm3pqdg8r97";
        assert_eq!(decode("age", key).map(|bytes| bytes.len()), Some(32));
        assert_eq!(decode("age", &key.to_uppercase()).map(|bytes| bytes.len()), Some(32));
        assert_eq!(decode("age", &key.replace("zl5", "zl6")), None);
        assert_eq!(decode("age", &key.replace("zl5", "zL5")), None);
        assert_eq!(decode("age", &key[..40]), None);
        assert_eq!(decode("age-secret-key-", key), None);
        // The vector of BIP 173 with every letter.
        assert!(decode("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw").is_some());
    }
}
