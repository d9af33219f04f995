//! Reads and checks CSV of the size given in megabytes, writes it as PostgreSQL takes it,
//! and prints the most memory and the processor's time that took. One process a size, so
//! that none hides behind another.
//!
//! The file is made while it is read: 5 GB need no disk, and the bytes take the same way.
//! The time to make them is measured first, and does not count.

use std::error::Error;
use std::io::{self, Read, Seek, SeekFrom};

use storekeeper_benches::{contract, header, processor_time, push_row, read_and_encode};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(megabytes) = std::env::args().nth(1) else {
        return Err("usage: large MEGABYTES".into());
    };
    let size_bytes = megabytes.parse::<u64>()? * 1_000_000;
    let start = processor_time();
    let mut buffer = vec![0; 256 << 10];
    let mut made = Generated::new(size_bytes);
    while made.read(&mut buffer)? > 0 {}
    let making = processor_time() - start;
    let mut generated = Generated::new(size_bytes);
    let start = processor_time();
    let (accepted, refused, written) = read_and_encode(&contract(), &mut generated);
    let seconds = (processor_time() - start).saturating_sub(making).as_secs_f64();
    let rows = generated.rows;
    if (accepted, refused) != (rows, 0) || generated.handed_out < size_bytes {
        return Err(format!("made {rows} rows, but read {accepted} and refused {refused}").into());
    }
    let (speed, written, peak) = (size_bytes as f64 / seconds / 1e6, written / 1_000_000, peak_kilobytes()?);
    println!(
        "{megabytes:>5} MB: {rows:>9} rows to {written} MB of COPY, {seconds:.2} s of processor time ({speed:.0} MB/s), peak memory {peak} kB"
    );
    Ok(())
}

/// A file of at least `size_bytes` that is made row by row.
struct Generated {
    size_bytes: u64,
    handed_out: u64,
    rows: u64,
    piece: String,
    at: usize,
}

impl Generated {
    fn new(size_bytes: u64) -> Self {
        Self { size_bytes, handed_out: 0, rows: 0, piece: header().to_owned(), at: 0 }
    }
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.at == self.piece.len() {
                if self.handed_out >= self.size_bytes {
                    break;
                }
                self.piece.clear();
                self.at = 0;
                push_row(&mut self.piece, self.rows);
                self.rows += 1;
            }
            let rest = &self.piece.as_bytes()[self.at..];
            let length = rest.len().min(buffer.len() - filled);
            buffer[filled..filled + length].copy_from_slice(&rest[..length]);
            filled += length;
            self.at += length;
            self.handed_out += length as u64;
        }
        Ok(filled)
    }
}

impl Seek for Generated {
    /// Makes the file again up to the place; the reader only ever goes back to its top.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(place) = to else {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        };
        *self = Self::new(self.size_bytes);
        io::copy(&mut self.by_ref().take(place), &mut io::sink())
    }
}

/// `VmHWM` of this process.
fn peak_kilobytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the system keeps no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
