//! The parsers of what services answer, without the services, and what must hold of them.

#[path = "../../src/sources/dataverse_batch.rs"]
mod dataverse_batch;
#[path = "../../src/sources/error.rs"]
mod error;
#[path = "../../src/sources/file.rs"]
mod file;
#[path = "../../src/sources/item.rs"]
mod item;
#[path = "../../src/sources/quick_xor_hash.rs"]
mod quick_xor_hash;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use item::{Page, Sifted};
use quick_xor_hash::QuickXorHash;

use crate::pattern::Pattern;

/// The first line is the content type, the rest the body: what is read is no more than
/// what came, and each answer has a status. Answers with how many were read.
pub fn batch(bytes: &[u8]) -> usize {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let content_type = String::from_utf8_lossy(&bytes[..at]);
    let body = bytes.get(at + 1..).unwrap_or_default();
    let Ok(answers) = dataverse_batch::parse_batch(&content_type, body) else { return 0 };
    let read: usize = answers.iter().map(|answer| answer.body.len()).sum();
    assert!(read <= body.len(), "{read} bytes were read from {}", body.len());
    for answer in &answers {
        assert!((100..600).contains(&answer.status), "status {}", answer.status);
        assert!(answer.change_set != Some(0), "change sets are counted from 1");
    }
    answers.len()
}

/// The first two bytes say how the rest is cut into pieces: the hash is that of the whole,
/// and that of the definition, bit by bit.
pub fn quick_xor(bytes: &[u8]) {
    let Some(([first, step], content)) = bytes.split_first_chunk::<2>() else { return };
    let mut whole = QuickXorHash::new();
    whole.update(content);
    let mut pieces = QuickXorHash::new();
    let mut rest = content;
    let mut size = usize::from(*first);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        pieces.update(now);
        rest = later;
        size = (size + usize::from(*step)) % 401 + usize::from(later.len() == content.len());
    }
    assert_eq!(pieces.finish(), whole.finish());
    assert_eq!(whole.finish(), by_definition(content));
}

fn by_definition(content: &[u8]) -> String {
    let mut hash = [0_u8; 20];
    for (at, byte) in content.iter().enumerate() {
        for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
            let place = (at * 11 + bit) % 160;
            hash[place / 8] ^= 1 << (place % 8);
        }
    }
    for (byte, length) in hash[12..].iter_mut().zip((content.len() as u64).to_le_bytes()) {
        *byte ^= length;
    }
    STANDARD.encode(hash)
}

/// A page of a drive's changes: what is taken for a file to read is named, fits the
/// pattern, holds something and is not deleted. Answers with how many were taken.
pub fn delta(bytes: &[u8]) -> usize {
    let Ok(page) = serde_json::from_slice::<Page>(bytes) else { return 0 };
    let mut taken = 0;
    let pattern = Pattern::new("Sales*.?sv");
    for item in page.value {
        let (deleted, id, name) = (item.is_deleted(), item.id.clone(), item.name().map(str::to_owned));
        match item.sift(&pattern) {
            Sifted::Taken(file) => {
                assert!(!deleted && file.size_bytes > 0, "{file:?}");
                assert_eq!((Some(&file.item_id), Some(&file.name)), (id.as_ref(), name.as_ref()));
                assert!(pattern.matches(&file.name), "{file:?}");
                assert!(!file.name.starts_with("~$"), "{file:?}");
                taken += 1;
            }
            Sifted::Left(note) => {
                let name = name.expect("only what has a name is spoken of");
                assert!(note.contains(&name), "`{note}` does not name `{name}`");
            }
            Sifted::Other => {}
        }
    }
    taken
}
