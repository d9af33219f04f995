//! Proves that a backup comes back.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use uuid::Uuid;

use super::compare::Difference;
use super::error::Error;
use super::restore::{Order, differences_after};
use super::target::Target;
use crate::telemetry::chain;
use crate::warehouse::{Scratch, databases};

/// What a proof came to.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// The backup.
    pub id: String,
    /// Which database it is of.
    pub what: super::What,
    /// Tables compared.
    pub tables: usize,
    /// Rows compared.
    pub rows: i64,
    /// How long it took.
    pub seconds: f64,
    /// What is not as it was.
    pub differences: Vec<Difference>,
}

/// Restores a backup into a cluster of its own, below `parent`, and compares
/// every table and every definition with the manifest. `supervisor` is the
/// program that keeps the cluster: ourselves.
///
/// # Errors
/// When it cannot be read, opened or restored.
pub async fn verify(target: &Target, order: &Order, parent: &Path, supervisor: &Path) -> Result<Verified, Error> {
    let started = Instant::now();
    let mark = Uuid::new_v4().simple().to_string();
    let scratch = Scratch::start(parent, supervisor, &mark[..12]).await?;
    let differences = tried(target, order, &scratch).await;
    let removed = scratch.remove().await;
    let differences = differences?;
    if let Err(error) = removed {
        tracing::warn!(error = %chain(&error), "scratch cluster was not removed");
    }
    let manifest = &order.manifest;
    Ok(Verified {
        id: manifest.id.clone(),
        what: manifest.what,
        tables: manifest.contents.tables.len(),
        rows: manifest.rows(),
        seconds: started.elapsed().as_secs_f64(),
        differences,
    })
}

async fn tried(target: &Target, order: &Order, scratch: &Scratch) -> Result<Vec<Difference>, Error> {
    let contents = &order.manifest.contents;
    let server = scratch.endpoint();
    // Owned as the original was: policies and rights name its owner.
    let endpoint = databases::make_owned(&server, "restored", &contents.owner).await?;
    databases::make_roles(&endpoint, &contents.roles).await?;
    differences_after(target, order, &endpoint, Some(&contents.owner)).await
}
