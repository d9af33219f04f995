//! Separated values, streamed: memory does not grow with the file.

use std::io::{Read, Seek, SeekFrom};

use arrow::array::RecordBatch;
use encoding_rs::UTF_8;
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::csv_lines::Lines;
use super::dialect::Dialect;
use super::header::Wanted;
use super::rows::Collector;
use super::{Error, Facts, Format};

const SAMPLE_BYTES: u64 = 1 << 20;
const MARK: &[u8] = b"\xEF\xBB\xBF";

pub(super) fn read<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    mut input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let mut sample = Vec::new();
    input.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(Error::Read)?;
    let dialect = Dialect::of(format, &sample)?;
    let start = if sample.starts_with(MARK) { MARK.len() as u64 } else { 0 };
    let result = if dialect.encoding == UTF_8 {
        // Undecoded, so that a bad byte is refused and not replaced.
        input.seek(SeekFrom::Start(start)).map_err(Error::Read)?;
        read_lines(format, wanted, dialect, input, sink)
    } else {
        input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
        let decoded = DecodeReaderBytesBuilder::new().encoding(Some(dialect.encoding)).strip_bom(true).build(input);
        read_lines(format, wanted, dialect, decoded, sink)
    };
    if let (Err(Error::NoHeader { .. } | Error::HeaderElsewhere { .. }), Some(frozen)) = (&result, format.delimiter) {
        let found = Dialect::of(&Format { delimiter: None, ..format.clone() }, &sample)?.delimiter;
        if found != frozen {
            return Err(Error::Delimiter { frozen, found });
        }
    }
    result
}

fn read_lines<R: Read>(
    format: &Format,
    wanted: &Wanted,
    dialect: Dialect,
    input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let mut lines = Lines::new(input, dialect.signs());
    let mut collector = Collector::new(wanted, format.header, sink);
    while let Some(line) = lines.next()? {
        let Some(cells) = line.cells else {
            return Err(Error::Encoding { row: line.row, encoding: dialect.encoding.name().to_owned() });
        };
        if !collector.take_line(&line, cells)? {
            break;
        }
    }
    collector.finish()
}

/// Finds how the file is written, and puts it into the format.
pub(super) fn freeze<R: Read + Seek>(format: &mut Format, mut input: R) -> Result<(), Error> {
    let mut sample = Vec::new();
    input.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let dialect = Dialect::of(format, &sample)?;
    format.delimiter = Some(dialect.delimiter);
    format.encoding = Some(dialect.encoding.name().to_lowercase());
    // The usual quotes go without saying.
    format.quote = (dialect.quote != '"').then_some(dialect.quote);
    format.escape = (dialect.escape != dialect.quote).then_some(dialect.escape);
    Ok(())
}
