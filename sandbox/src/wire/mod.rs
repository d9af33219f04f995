//! HTTP/1.1 as bytes on a loopback socket.
//!
//! The stand-ins must see what a client really sent (an encoded slash, the order
//! of a query, a header sent twice) and must be able to break an answer in the
//! middle. A server library tidies up the first and forbids the second, hence
//! this small one of our own.
//!
//! Invariants: a [`Request`] holds the request target exactly as it came in, and
//! a [`Server`] that is dropped has closed its port and every connection.

mod encoding;
mod http;
mod message;
mod port;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use encoding::{decode_form, decode_percent, encode_percent};
pub use http::{Listener, Server};
pub use message::{Delivery, Reply, Request, Response};
pub use port::{Port, Served};

/// Locks a stand-in's state; a panic in an earlier request does not spoil later ones.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an id in the form of a GUID from a running number: the same number, the same id.
pub(crate) fn numbered_guid(subject: &str, number: u64) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(subject.as_bytes()).chain_update(number.to_be_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
