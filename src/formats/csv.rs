//! Separated values, streamed: memory does not grow with the file.

use std::io::{Read, Seek, SeekFrom};

use arrow::array::RecordBatch;
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::header::Wanted;
use super::rows::Collector;
use super::{Error, Facts, Format};

const SAMPLE_BYTES: u64 = 1 << 20;

pub(super) fn read<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    mut input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let mut sample = Vec::new();
    input.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let encoding = encoding_of(format, &sample)?;
    let text = encoding.decode(&sample).0;
    let delimiter = match format.delimiter {
        Some(delimiter) => u8::try_from(delimiter).map_err(|_| Error::Corrupt {
            kind: "CSV",
            reason: format!("delimiter `{delimiter}` is not a single byte"),
        })?,
        None => delimiter_of(&text),
    };
    // UTF-8 passes through undecoded, so that a bad byte is refused and not replaced.
    let transcode = (encoding != UTF_8).then_some(encoding);
    let decoded = DecodeReaderBytesBuilder::new().encoding(transcode).strip_bom(true).build(input);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(decoded);
    let mut collector = Collector::new(wanted, format.header, sink);
    let mut record = csv::ByteRecord::new();
    let mut cells: Vec<Option<String>> = Vec::new();
    while reader.read_byte_record(&mut record).map_err(failed)? {
        let row = record.position().map_or(0, csv::Position::line);
        cells.clear();
        for field in &record {
            let text = std::str::from_utf8(field)
                .map_err(|_| Error::Encoding { row, encoding: encoding.name().to_owned() })?
                .trim();
            cells.push((!text.is_empty()).then(|| text.to_owned()));
        }
        if !collector.take(row, &cells)? {
            break;
        }
    }
    collector.finish()
}

/// Finds separator and encoding, and writes them into the format.
pub(super) fn freeze<R: Read + Seek>(format: &mut Format, mut input: R) -> Result<(), Error> {
    let mut sample = Vec::new();
    input.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let encoding = encoding_of(format, &sample)?;
    format.delimiter = Some(char::from(delimiter_of(&encoding.decode(&sample).0)));
    format.encoding = Some(encoding.name().to_lowercase());
    Ok(())
}

fn failed(error: csv::Error) -> Error {
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Read(source),
        _ => Error::Corrupt { kind: "CSV", reason },
    }
}

fn encoding_of(format: &Format, sample: &[u8]) -> Result<&'static Encoding, Error> {
    if let Some((encoding, _)) = Encoding::for_bom(sample) {
        return Ok(encoding);
    }
    if let Some(label) = &format.encoding {
        return Encoding::for_label(label.as_bytes()).ok_or_else(|| Error::UnknownEncoding { label: label.clone() });
    }
    match std::str::from_utf8(sample) {
        // A sample may end inside a character.
        Err(error) if error.error_len().is_some() => Ok(WINDOWS_1252),
        _ => Ok(UTF_8),
    }
}

/// The separator that stands most often, outside quotes, in the first full lines.
fn delimiter_of(text: &str) -> u8 {
    let candidates = [b',', b';', b'\t', b'|'];
    let mut best = (0, b',');
    for delimiter in candidates {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(text.as_bytes());
        let widths: Vec<usize> = reader.byte_records().take(20).flatten().map(|record| record.len()).collect();
        let widest = widths.iter().copied().max().unwrap_or(0);
        let score = if widest < 2 { 0 } else { widths.iter().filter(|width| **width == widest).count() * widest };
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}
