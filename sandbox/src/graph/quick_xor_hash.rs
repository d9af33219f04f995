//! quickXorHash, the one content hash Graph promises for business drives.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const STATE_BITS: usize = 160;
const SHIFT_BITS: usize = 11;

/// The hash of bytes that come in pieces.
///
/// Byte number `i` is XORed in at bit `11 * i mod 160`, wrapping round, so all
/// that is carried from piece to piece is the position.
#[derive(Debug, Clone, Default)]
pub struct QuickXorHash {
    state: [u8; STATE_BITS / 8],
    length: u64,
}

impl QuickXorHash {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let size = self.state.len();
        let mut bit = usize::try_from(self.length % 160).unwrap_or_default() * SHIFT_BITS % STATE_BITS;
        for byte in bytes {
            let (index, shift) = (bit / 8, bit % 8);
            let spread = u16::from(*byte) << shift;
            let [low, high] = spread.to_le_bytes();
            self.state[index] ^= low;
            self.state[(index + 1) % size] ^= high;
            bit = (bit + SHIFT_BITS) % STATE_BITS;
        }
        self.length += bytes.len() as u64;
    }

    /// Takes in so many zero bytes; they change nothing but the length.
    pub fn skip_zeros(&mut self, count: u64) {
        self.length += count;
    }

    /// Prints the hash as Graph does: base64 of 20 bytes.
    pub fn finish(&self) -> String {
        let mut output = self.state;
        for (byte, length) in output[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *byte ^= length;
        }
        STANDARD.encode(output)
    }
}

/// Hashes bytes that are all there.
pub fn quick_xor_hash(bytes: &[u8]) -> String {
    let mut hash = QuickXorHash::default();
    hash.update(bytes);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_piece_size_does_not_change_the_hash() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| ((i * 7 + 13) % 251) as u8).collect();
        for size in [1, 7, 160, 4096, 65_535] {
            let mut hash = QuickXorHash::default();
            bytes.chunks(size).for_each(|piece| hash.update(piece));
            assert_eq!(hash.finish(), quick_xor_hash(&bytes), "pieces of {size}");
        }
        assert_eq!(quick_xor_hash(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }
}
