//! Tells the rows that must be sent from those that are as they were.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use sha2::{Digest as _, Sha256};

use super::tables::Book;
use crate::pipelines::error::Error;
use crate::sources::{Reason, Target, TargetRow};
use crate::warehouse::hexadecimal;

/// Rows of the query that are looked at together.
const BLOCK: usize = 1000;

/// A row that was written.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) key: String,
    pub(super) hash: String,
}

/// A row that was not.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) key: String,
    pub(super) number: u64,
    pub(super) reason: Reason,
}

/// Some rows to send.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) rows: Vec<TargetRow>,
    /// For each row what is noted of it, and whether it was never sent before.
    pub(super) marks: Vec<(String, bool)>,
    /// Rows that cannot be sent at all.
    pub(super) refused: Vec<Refused>,
    pub(super) unchanged: u64,
    pub(super) read: u64,
}

/// Reads the query and compares it with the book.
pub(super) struct Changes<'a> {
    pub(super) lines: BoxStream<'a, Result<String, Error>>,
    pub(super) target: &'a Target,
    /// Whether to send again what is as it was.
    pub(super) full: bool,
    pub(super) number: u64,
}

impl Changes<'_> {
    /// Reads on until there are so many rows to send, or no more; `None` at the end.
    pub(super) async fn next(&mut self, book: &mut Book, most: usize) -> Result<Option<Piece>, Error> {
        let mut piece = Piece::default();
        while piece.rows.len() + BLOCK.min(most) <= most && piece.refused.len() < BLOCK {
            let mut rows = Vec::new();
            let mut ended = true;
            while let Some(line) = self.lines.next().await {
                self.number += 1;
                piece.read += 1;
                match self.target.row(self.number, &line?) {
                    Ok(row) => rows.push(row),
                    Err(reason) => {
                        let key = format!("row {}", self.number);
                        piece.refused.push(Refused { key, number: self.number, reason });
                    }
                }
                if rows.len() == BLOCK.min(most) {
                    ended = false;
                    break;
                }
            }
            self.compare(book, rows, &mut piece).await?;
            if ended {
                break;
            }
        }
        Ok((piece.read > 0).then_some(piece))
    }

    async fn compare(&mut self, book: &mut Book, rows: Vec<TargetRow>, piece: &mut Piece) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
        let mut fresh = book.fresh(&keys).await?;
        let known = book.known(&keys).await?;
        for row in rows {
            if !fresh.remove(&row.key) {
                let message = "an earlier row of the query has the same key; case does not count".to_owned();
                let reason = Reason { code: "duplicate_key".to_owned(), message };
                piece.refused.push(Refused { key: format!("row {}", row.number), number: row.number, reason });
                continue;
            }
            let hash = hexadecimal(&Sha256::digest(row.body.as_bytes()));
            let before = known.get(&row.key);
            if !self.full && before == Some(&hash) {
                piece.unchanged += 1;
                continue;
            }
            piece.marks.push((hash, before.is_none()));
            piece.rows.push(row);
        }
        Ok(())
    }
}

/// A refusal's words without what stands in the row: it may be personal.
pub(super) fn masked(row: &TargetRow, reason: Reason) -> Reason {
    let mut message = reason.message;
    for text in row.texts().iter().filter(|text| text.chars().count() > 2) {
        message = message.replace(text.as_str(), "…");
    }
    Reason { message, ..reason }
}
