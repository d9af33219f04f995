//! The hash by which drives tell that a transfer is whole.
//!
//! No identity: bytes 160 positions apart may be exchanged without changing it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BITS: usize = 160;
const SHIFT: usize = 11;

/// Takes bytes in any pieces.
#[derive(Debug, Clone)]
pub(super) struct QuickXorHash {
    /// One cell a byte position modulo 160: bytes at the same distance meet here.
    cells: [u8; BITS],
    length: u64,
}

impl QuickXorHash {
    pub(super) fn new() -> Self {
        let cells = [0; BITS];
        Self { cells, length: 0 }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let mut at = (self.length % BITS as u64) as usize;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BITS - at));
            for (cell, byte) in self.cells[at..].iter_mut().zip(now) {
                *cell ^= byte;
            }
            (bytes, at) = (later, 0);
        }
    }

    pub(super) fn finish(&self) -> String {
        let mut out = [0_u8; BITS / 8];
        for (i, cell) in self.cells.iter().enumerate() {
            let bit = i * SHIFT % BITS;
            let (byte, shift) = (bit / 8, bit % 8);
            out[byte] ^= cell << shift;
            if shift > 0 {
                out[(byte + 1) % out.len()] ^= cell >> (8 - shift);
            }
        }
        for (byte, length) in out[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *byte ^= length;
        }
        STANDARD.encode(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> String {
        let mut hash = QuickXorHash::new();
        hash.update(bytes);
        hash.finish()
    }

    #[test]
    fn known_texts_have_their_known_hashes() {
        for (text, expected) in [
            ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("a", "YQAAAAAAAAAAAAAAAQAAAAAAAAA="),
            ("abc", "YRDDGAAAAAAAAAAAAwAAAAAAAAA="),
            ("hello world", "aCgDG9jwBhDc4Q1yawMZAAAAAAA="),
            ("id;name\r\n1;Zażółć gęślą jaźń\r\n", "SbgwKzsYiGkW8BWNn1gmcjZeInw="),
        ] {
            assert_eq!(hash(text.as_bytes()), expected);
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hash(&all), "QkGEfSisZcA7k+FCh71r2dbCayY=");
    }

    #[test]
    fn known_lengths_have_their_known_hashes() {
        for (length, expected) in [
            (1, "DQAAAAAAAAAAAAAAAQAAAAAAAAA="),
            (14, "DaDABkSQAhjcwAdFbsIUtBAGNAA="),
            (15, "DKDABkSQAhjcwAdFb8IUtBAGNLw="),
            (20, "zK69JoCyJhncwAdFdMIUtBAGNLw="),
            (159, "95WMLGB5JTCXtAXT0V4WwkvW/MM="),
            (160, "95WMLGB5JTCXtAXT7l4WwkvWvMw="),
            (161, "dpWMLGB5JTCXtAXT714WwkvWvMw="),
            (1761, "T+mrA73MdKiFqjqDQDVzA5nUi68="),
            (65_535, "IJg26foarzgoFG33DpUYlP/orHs="),
            (65_536, "IJg26foarzgoFM3h8WoZlP/orHs="),
            (65_537, "IJg26foarzgoFM3hTGoZlP/orHs="),
            (262_144, "cdt2bZleqEwnUh2LESBY61mrcLo="),
            (1_048_579, "LWu/jPIpsnjPiWgIlpFoTEUJVWI="),
        ] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| ((i * 7 + 13) % 251) as u8).collect();
            assert_eq!(hash(&bytes), expected, "{length} bytes");
        }
    }

    #[test]
    fn a_length_past_four_gigabytes_counts_whole() {
        let mut hash = QuickXorHash::new();
        hash.length = 4_294_967_301;
        assert_eq!(hash.finish(), "AAAAAAAAAAAAAAAABQAAAAEAAAA=");
    }

    #[test]
    fn pieces_do_not_count() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| (i * 31 % 251) as u8).collect();
        let whole = hash(&bytes);
        for size in [1, 7, 159, 160, 161, 65_536] {
            let mut pieces = QuickXorHash::new();
            bytes.chunks(size).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), whole);
        }
    }
}
