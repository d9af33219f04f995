//! Reads and checks CSV of the size given in megabytes, and prints the most memory that
//! took. One process a size, so that none hides behind another.
//!
//! The file is made while it is read: 5 GB need no disk, and the bytes take the same way.

use std::error::Error;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Instant;

use storekeeper_benches::{contract, header, push_row, read_and_check};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(megabytes) = std::env::args().nth(1) else {
        return Err("usage: large MEGABYTES".into());
    };
    let size_bytes = megabytes.parse::<u64>()? * 1_000_000;
    let mut generated = Generated::new(size_bytes);
    let start = Instant::now();
    let read = read_and_check(&contract(), &mut generated);
    let seconds = start.elapsed().as_secs_f64();
    if read != (generated.rows, 0) || generated.handed_out < size_bytes {
        return Err(format!("made {} rows, but read {} and refused {}", generated.rows, read.0, read.1).into());
    }
    let speed = size_bytes as f64 / seconds / 1e6;
    let (rows, peak) = (generated.rows, peak_kilobytes()?);
    println!("{megabytes:>5} MB: {rows:>9} rows, {speed:.0} MB/s with making them, peak memory {peak} kB");
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
