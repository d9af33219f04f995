//! Looks into a workbook's archive before anybody else does: what the file
//! really is, how large it really gets, and what its sheets' XML says besides cells.
//!
//! Invariant: no more than the limit is ever decompressed, whatever the archive declares.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::Error;
use super::sheet_scan::{SheetScan, attribute};

/// Parts of the workbook that are kept as text are small in every real one.
const PART_BYTES: usize = 4 << 20;
/// How much of a file tells what it is.
const HEAD_BYTES: u64 = 512;
const OLE: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];

/// What an archive holds besides cells.
#[derive(Debug, Default)]
pub(super) struct Package {
    /// What was found in each sheet, in the workbook's order.
    pub(super) sheets: Vec<SheetScan>,
    /// Whether formulas are calculated by hand, or were to be calculated on opening.
    pub(super) stale: bool,
}

/// Looks through an XLSX file and leaves it at its beginning.
pub(super) fn inspect<R: Read + Seek>(input: &mut R, limit_bytes: u64) -> Result<Package, Error> {
    let corrupt = |reason: String| Error::Corrupt { kind: "an XLSX workbook", reason };
    recognise(input)?;
    let mut archive = zip::ZipArchive::new(&mut *input).map_err(|error| corrupt(error.to_string()))?;
    if archive.index_for_name("xl/workbook.xml").is_none() {
        let other = [
            ("xl/workbook.bin", "a binary workbook (.xlsb)"),
            ("word/document.xml", "a Word document"),
            ("ppt/presentation.xml", "a PowerPoint presentation"),
            ("content.xml", "an OpenDocument file"),
        ];
        let found = other.iter().find(|(part, _)| archive.index_for_name(part).is_some());
        // Some programs name the part otherwise; the reader finds it by its relations.
        if let Some((_, found)) = found {
            return Err(Error::OtherFormat { found });
        }
    }
    // A declared size over the limit saves the work; one below it proves nothing.
    let mut declared = 0_u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| corrupt(error.to_string()))?;
        declared = declared.saturating_add(entry.size());
    }
    if declared > limit_bytes {
        return Err(Error::TooLarge { size_bytes: declared, limit_bytes });
    }
    let mut left = limit_bytes;
    let (mut scans, mut workbook, mut relations) = (HashMap::new(), Vec::new(), Vec::new());
    let mut piece = vec![0_u8; 64 << 10];
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| corrupt(error.to_string()))?;
        let name = entry.name().trim_start_matches('/').to_owned();
        let mut scan = (name.contains("worksheets/") && name.ends_with(".xml")).then(SheetScan::default);
        let mut text = match name.as_str() {
            "xl/workbook.xml" => Some(&mut workbook),
            "xl/_rels/workbook.xml.rels" => Some(&mut relations),
            _ => None,
        };
        loop {
            let read = entry.read(&mut piece).map_err(|error| corrupt(format!("`{name}`: {error}")))?;
            if read == 0 {
                break;
            }
            left = left
                .checked_sub(read as u64)
                .ok_or(Error::TooLarge { size_bytes: limit_bytes.saturating_add(1), limit_bytes })?;
            if let Some(scan) = &mut scan {
                scan.feed(&piece[..read]);
            }
            if let Some(text) = &mut text
                && text.len() < PART_BYTES
            {
                text.extend_from_slice(&piece[..read]);
            }
        }
        scans.extend(scan.map(|scan| (name, scan)));
    }
    drop(archive);
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    Ok(in_order(scans, &workbook, &relations))
}

/// Puts what was found in each part into the order of the workbook's sheets.
fn in_order(mut scans: HashMap<String, SheetScan>, workbook: &[u8], relations: &[u8]) -> Package {
    let targets: HashMap<&str, &str> = tags(relations, b"Relationship")
        .filter_map(|tag| Some((attribute(tag, "Id")?, attribute(tag, "Target")?)))
        .collect();
    let sheets = tags(workbook, b"sheet")
        .map(|tag| {
            let id = attribute(tag, "r:id").or_else(|| prefixed_id(tag));
            let target = id.and_then(|id| targets.get(id)).copied().unwrap_or_default();
            let path = match target.strip_prefix('/') {
                Some(absolute) => absolute.to_owned(),
                None => format!("xl/{target}"),
            };
            scans.remove(&path).unwrap_or_default()
        })
        .collect();
    let stale = tags(workbook, b"calcPr").any(|tag| {
        attribute(tag, "calcMode") == Some("manual") || matches!(attribute(tag, "fullCalcOnLoad"), Some("1" | "true"))
    });
    Package { sheets, stale }
}

/// The relation's id where its name space is not called `r`.
fn prefixed_id(tag: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(tag).ok()?;
    let name =
        text.split_whitespace().find_map(|word| word.split_once('=').filter(|(name, _)| name.ends_with(":id")))?;
    attribute(tag, name.0)
}

/// The tags of a name, name spaces aside.
fn tags<'t>(xml: &'t [u8], name: &'static [u8]) -> impl Iterator<Item = &'t [u8]> {
    xml.split(|byte| *byte == b'<').filter_map(move |rest| {
        let tag = rest.split(|byte| *byte == b'>').next()?;
        let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/')?;
        let local = tag[..end].rsplit(|byte| *byte == b':').next()?;
        (local == name).then_some(tag)
    })
}

/// Refuses what is no ZIP archive, and says what it is instead.
fn recognise<R: Read + Seek>(input: &mut R) -> Result<(), Error> {
    let mut head = Vec::new();
    input.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(Error::Read)?;
    if head.is_empty() {
        return Err(Error::Empty);
    }
    if head.starts_with(b"PK") {
        input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
        return Ok(());
    }
    if head.starts_with(&OLE) {
        // The same container holds encrypted workbooks and those of Excel 97.
        return Err(if holds(input, "EncryptedPackage")? {
            Error::Encrypted
        } else if holds(input, "Workbook")? || holds(input, "Book")? {
            Error::OtherFormat { found: "an Excel 97 workbook (.xls)" }
        } else {
            Error::OtherFormat { found: "an old Office document" }
        });
    }
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_lowercase();
    let found = if lower.starts_with("%pdf") {
        "a PDF"
    } else if lower.contains("<html") || lower.contains("<!doctype html") || lower.starts_with("<table") {
        "a web page, perhaps a report saved as HTML or a sign-in page"
    } else if lower.starts_with("<?xml") {
        "an XML file"
    } else if lower.starts_with('{') || lower.starts_with('[') {
        "JSON"
    } else if head.starts_with(&[0xFF, 0xFE])
        || !head.contains(&0) && (text.contains([',', ';', '\t']) && text.contains('\n'))
    {
        "text, perhaps CSV"
    } else {
        return Err(Error::Corrupt { kind: "an XLSX workbook", reason: "it does not begin like one".to_owned() });
    };
    Err(Error::OtherFormat { found })
}

/// Whether an OLE container has an entry of a name, which it writes in UTF-16.
fn holds<R: Read + Seek>(input: &mut R, name: &str) -> Result<bool, Error> {
    let wanted: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let mut kept = 0;
    let mut piece = vec![0_u8; 64 << 10];
    loop {
        let read = input.read(&mut piece[kept..]).map_err(Error::Read)?;
        if read == 0 {
            return Ok(false);
        }
        let filled = kept + read;
        if memchr::memmem::find(&piece[..filled], &wanted).is_some() {
            return Ok(true);
        }
        // What is wanted may begin in one piece and end in the next.
        kept = filled.min(wanted.len() - 1);
        piece.copy_within(filled - kept..filled, 0);
    }
}
