//! Digests: hexadecimal text, HMAC, and the form in which PostgreSQL keeps a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const BLOCK_BYTES: usize = 64;
/// PostgreSQL's own number.
const ITERATIONS: u32 = 4096;

/// Writes bytes as lower-case hexadecimal text.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA-256 (RFC 2104).
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let (inner, outer) = pads(key);
    finish(&inner, &outer, message)
}

fn pads(key: &[u8]) -> (Sha256, Sha256) {
    let mut block = [0_u8; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| Sha256::new().chain_update(block.map(|key| key ^ byte));
    (pad(0x36), pad(0x5c))
}

fn finish(inner: &Sha256, outer: &Sha256, message: &[u8]) -> [u8; 32] {
    let inner = inner.clone().chain_update(message).finalize();
    outer.clone().chain_update(inner).finalize().into()
}

/// Computes what PostgreSQL stores of a password, so that the password itself
/// never stands in a statement, and so in no log of the server's.
/// The password must be plain ASCII: nothing is normalised here.
pub(crate) fn scram_verifier(password: &str, salt: &[u8; 16]) -> String {
    let (inner, outer) = pads(password.as_bytes());
    let mut round = finish(&inner, &outer, &[salt.as_slice(), &1_u32.to_be_bytes()].concat());
    let mut salted = round;
    for _ in 1..ITERATIONS {
        round = finish(&inner, &outer, &round);
        for (sum, byte) in salted.iter_mut().zip(round) {
            *sum ^= byte;
        }
    }
    let stored_key = Sha256::digest(hmac_sha256(&salted, b"Client Key"));
    let server_key = hmac_sha256(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        assert_eq!(
            hexadecimal(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hexadecimal(&hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_verifier_agrees_with_rfc_7677() {
        let salt: [u8; 16] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        assert_eq!(
            scram_verifier("pencil", &salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
