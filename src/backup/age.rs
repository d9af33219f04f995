//! The age format, version 1, with X25519 recipients: <https://age-encryption.org/v1>.
//!
//! Written here on the primitives that TLS brings already: the `age` crate adds
//! seventy packages and changes the features of `syn`, which rebuilds everything.
//! What `age` itself encrypted is opened by a test below, and what this wrote was
//! opened by `age`.

use std::str::FromStr;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::bech32;

const VERSION: &[u8] = b"age-encryption.org/v1\n";
const WRAP_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
/// Plain bytes of a chunk, and what its seal adds.
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
const FILE_KEY_BYTES: usize = 16;
const NONCE_BYTES: usize = 16;
/// A header with hundreds of recipients is smaller.
const HEADER_LIMIT_BYTES: usize = 256 * 1024;

/// Why something could not be encrypted or opened. Never quotes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// Not of the form `age1…`.
    #[error("it is no age recipient (age1…)")]
    Recipient,
    /// Not of the form `AGE-SECRET-KEY-1…`.
    #[error("it is no age identity (AGE-SECRET-KEY-1…)")]
    Identity,
    /// The primitives refused.
    #[error("the key was refused")]
    Refused,
    /// No age header.
    #[error("it does not begin as an age file does")]
    NotAge,
    /// Encrypted for somebody else.
    #[error("none of the identities opens it")]
    WrongKey,
    /// Something was changed or is missing.
    #[error("it was changed or cut off since it was encrypted")]
    Damaged,
}

/// Whom something is encrypted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        bech32::decode("age", text.trim()).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(AgeError::Recipient)
    }
}

/// What opens it again.
#[derive(Clone)]
pub struct Identity([u8; 32]);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// Reads a file as `age-keygen` writes it: one key a line, comments between.
    ///
    /// # Errors
    /// When a line is no identity, or there is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, AgeError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = lines
            .map(|line| bech32::decode("age-secret-key-", line).and_then(|bytes| bytes.try_into().ok()).map(Self))
            .collect::<Option<Vec<_>>>();
        identities.filter(|found| !found.is_empty()).ok_or(AgeError::Identity)
    }
}

fn derive(salt: &[u8], secret: &[u8], label: &[u8]) -> Result<[u8; 32], AgeError> {
    let mut key = [0_u8; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|derived| derived.fill(&mut key))
        .map_err(|_| AgeError::Refused)?;
    Ok(key)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, AgeError> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| AgeError::Refused)
}

fn random<const N: usize>() -> Result<[u8; N], AgeError> {
    let mut bytes = [0_u8; N];
    rand::fill(&mut bytes).map_err(|_| AgeError::Refused)?;
    Ok(bytes)
}

/// The key that wraps the file key between an ephemeral key and a recipient.
fn wrap_key(own: &PrivateKey, peer: &[u8; 32], share: &[u8], recipient: &[u8]) -> Result<LessSafeKey, AgeError> {
    let salt = [share, recipient].concat();
    let key = agree(own, UnparsedPublicKey::new(&X25519, peer), AgeError::Refused, |secret| {
        derive(&salt, secret, WRAP_LABEL)
    })?;
    cipher(&key)
}

fn public_of(key: &PrivateKey) -> Result<Vec<u8>, AgeError> {
    key.compute_public_key().map(|public| public.as_ref().to_vec()).map_err(|_| AgeError::Refused)
}

fn mac_key(file_key: &[u8]) -> Result<hmac::Key, AgeError> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], file_key, b"header")?))
}

/// The nonce of a chunk: its number, and whether it is the last.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0_u8; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// Encrypts a stream, chunk by chunk.
#[derive(Debug)]
pub(super) struct Encryptor {
    key: LessSafeKey,
    number: u64,
    pending: Vec<u8>,
}

impl Encryptor {
    /// Starts; what the second part holds comes first in the output.
    pub(super) fn new(recipients: &[Recipient]) -> Result<(Self, Vec<u8>), AgeError> {
        let file_key = random::<FILE_KEY_BYTES>()?;
        let mut header = VERSION.to_vec();
        for Recipient(recipient) in recipients {
            let own = PrivateKey::generate(&X25519).map_err(|_| AgeError::Refused)?;
            let share = public_of(&own)?;
            let mut body = file_key.to_vec();
            wrap_key(&own, recipient, &share, recipient)?
                .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)
                .map_err(|_| AgeError::Refused)?;
            let line = format!("-> X25519 {}\n{}\n", STANDARD_NO_PAD.encode(&share), STANDARD_NO_PAD.encode(&body));
            header.extend_from_slice(line.as_bytes());
        }
        header.extend_from_slice(b"---");
        let mac = hmac::sign(&mac_key(&file_key)?, &header);
        header.extend_from_slice(format!(" {}\n", STANDARD_NO_PAD.encode(mac)).as_bytes());
        let salt = random::<NONCE_BYTES>()?;
        header.extend_from_slice(&salt);
        let key = cipher(&derive(&salt, &file_key, b"payload")?)?;
        Ok((Self { key, number: 0, pending: Vec::with_capacity(2 * CHUNK_BYTES) }, header))
    }

    /// Takes plain bytes, appends what is sealed by now.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), AgeError> {
        self.pending.extend_from_slice(bytes);
        let mut from = 0;
        // One byte more than a chunk: only then it is known not to be the last.
        while self.pending.len() - from > CHUNK_BYTES {
            let chunk = &self.pending[from..from + CHUNK_BYTES];
            seal(&self.key, self.number, false, chunk, out)?;
            self.number += 1;
            from += CHUNK_BYTES;
        }
        self.pending.drain(..from);
        Ok(())
    }

    /// Appends the rest.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> Result<(), AgeError> {
        seal(&self.key, self.number, true, &self.pending, out)
    }
}

fn seal(key: &LessSafeKey, number: u64, last: bool, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), AgeError> {
    let mut sealed = chunk.to_vec();
    key.seal_in_place_append_tag(nonce(number, last), Aad::empty(), &mut sealed).map_err(|_| AgeError::Refused)?;
    out.extend_from_slice(&sealed);
    Ok(())
}

/// Opens a stream, chunk by chunk. What it gave before an error is authentic,
/// but not all there is.
#[derive(Debug)]
pub(super) struct Decryptor {
    identities: Vec<Identity>,
    key: Option<LessSafeKey>,
    number: u64,
    pending: Vec<u8>,
}

impl Decryptor {
    pub(super) fn new(identities: Vec<Identity>) -> Self {
        Self { identities, key: None, number: 0, pending: Vec::new() }
    }

    /// Takes encrypted bytes, appends what is open by now.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), AgeError> {
        self.pending.extend_from_slice(bytes);
        if self.key.is_none() {
            let Some(end) = header_end(&self.pending)? else { return Ok(()) };
            if self.pending.len() < end + NONCE_BYTES {
                return Ok(());
            }
            let file_key = open_header(&self.pending[..end], &self.identities)?;
            let salt = &self.pending[end..end + NONCE_BYTES];
            self.key = Some(cipher(&derive(salt, &file_key, b"payload")?)?);
            self.pending.drain(..end + NONCE_BYTES);
        }
        let Some(key) = &self.key else { return Ok(()) };
        let mut from = 0;
        while self.pending.len() - from > SEALED_BYTES {
            let mut chunk = self.pending[from..from + SEALED_BYTES].to_vec();
            let plain = key.open_in_place(nonce(self.number, false), Aad::empty(), &mut chunk);
            out.extend_from_slice(plain.map_err(|_| AgeError::Damaged)?);
            self.number += 1;
            from += SEALED_BYTES;
        }
        self.pending.drain(..from);
        Ok(())
    }

    /// Appends the rest, after the proof that it is the end.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), AgeError> {
        let key = match self.key {
            Some(key) => key,
            None if VERSION.starts_with(&self.pending[..self.pending.len().min(VERSION.len())]) => {
                return Err(AgeError::Damaged);
            }
            None => return Err(AgeError::NotAge),
        };
        let plain = key
            .open_in_place(nonce(self.number, true), Aad::empty(), &mut self.pending)
            .map_err(|_| AgeError::Damaged)?;
        if plain.is_empty() && self.number > 0 {
            return Err(AgeError::Damaged);
        }
        out.extend_from_slice(plain);
        Ok(())
    }
}

/// Where the header ends, once all of it is there.
fn header_end(bytes: &[u8]) -> Result<Option<usize>, AgeError> {
    if !bytes.starts_with(&VERSION[..bytes.len().min(VERSION.len())]) {
        return Err(AgeError::NotAge);
    }
    let mark = memchr::memmem::find(bytes, b"\n---");
    let end = mark.and_then(|mark| memchr::memchr(b'\n', &bytes[mark + 1..]).map(|line| mark + 1 + line + 1));
    if end.is_none() && bytes.len() > HEADER_LIMIT_BYTES { Err(AgeError::NotAge) } else { Ok(end) }
}

/// Finds the file key, and proves that the header is what was written.
fn open_header(header: &[u8], identities: &[Identity]) -> Result<Vec<u8>, AgeError> {
    let text = std::str::from_utf8(header).map_err(|_| AgeError::Damaged)?;
    let body_bytes = FILE_KEY_BYTES + TAG_BYTES;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(share) = line.strip_prefix("-> X25519 ") else { continue };
        let body = lines.next().ok_or(AgeError::Damaged)?;
        let (Ok(share), Ok(body)) = (STANDARD_NO_PAD.decode(share), STANDARD_NO_PAD.decode(body)) else {
            return Err(AgeError::Damaged);
        };
        let Ok(peer) = <[u8; 32]>::try_from(share.as_slice()) else { return Err(AgeError::Damaged) };
        if body.len() != body_bytes {
            return Err(AgeError::Damaged);
        }
        for Identity(secret) in identities {
            let own = PrivateKey::from_private_key(&X25519, secret).map_err(|_| AgeError::Identity)?;
            let recipient = public_of(&own)?;
            let mut body = body.clone();
            let key = wrap_key(&own, &peer, &share, &recipient)?;
            if let Ok(file_key) = key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body) {
                return proved(header, file_key);
            }
        }
    }
    Err(AgeError::WrongKey)
}

fn proved(header: &[u8], file_key: &[u8]) -> Result<Vec<u8>, AgeError> {
    let mark = memchr::memmem::rfind(header, b"\n---").ok_or(AgeError::Damaged)? + "\n---".len();
    let mac =
        std::str::from_utf8(&header[mark..]).ok().map(str::trim).and_then(|text| STANDARD_NO_PAD.decode(text).ok());
    hmac::verify(&mac_key(file_key)?, &header[..mark], &mac.ok_or(AgeError::Damaged)?)
        .map_err(|_| AgeError::Damaged)?;
    Ok(file_key.to_vec())
}

#[cfg(test)]
#[path = "age_tests.rs"]
mod tests;
