//! Damages a workbook inside its parts: bytes changed in the archive itself hardly ever
//! leave one that opens, so nothing behind its checksums would be reached.

use std::io::{Cursor, Read as _, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

type Parts = Vec<(String, Vec<u8>)>;

/// Changes one part of the workbook in `data[..size]` by `change`, which is given a buffer and
/// the bytes used of it, and answers with the bytes used then. `None` where this is no
/// archive, or the new one is too large: then the bytes themselves are to be changed.
pub fn workbook(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    change: impl FnOnce(&mut [u8], usize) -> usize,
) -> Option<usize> {
    // Now and then the archive is what is damaged.
    if seed.is_multiple_of(16) {
        return None;
    }
    let mut parts = parts_of(data.get(..size)?)?;
    let chosen = seed as usize / 16 % parts.len();
    let part = &mut parts[chosen].1;
    let used = part.len();
    part.resize((used * 2).clamp(64, 64 << 10).max(used), 0);
    let used = change(part, used);
    part.truncate(used);
    let archive = packed(&parts)?;
    if archive.len() > max_size {
        return None;
    }
    data.get_mut(..archive.len())?.copy_from_slice(&archive);
    Some(archive.len())
}

fn parts_of(archive: &[u8]) -> Option<Parts> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).ok()?;
    let mut parts = Parts::new();
    for at in 0..archive.len().min(32) {
        let mut entry = archive.by_index(at).ok()?;
        let mut content = Vec::new();
        entry.by_ref().take(1 << 20).read_to_end(&mut content).ok()?;
        parts.push((entry.name().to_owned(), content));
    }
    (!parts.is_empty()).then_some(parts)
}

fn packed(parts: &Parts) -> Option<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in parts {
        archive.start_file(name, deflated).ok()?;
        archive.write_all(content).ok()?;
    }
    Some(archive.finish().ok()?.into_inner())
}
