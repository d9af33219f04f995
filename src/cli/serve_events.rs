//! The daemon's events: what loads brought, onto the charts in Metabase.
//!
//! Which loads were told is read from our own lists, so that a load or an undo by hand counts,
//! and a restart forgets nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::Failure;
use super::metabase::{Opened, titles};
use crate::app::App;
use crate::metabase::{self, Events, Titles};
use crate::pipelines::Pipeline;
use crate::warehouse::Warehouse;

/// How often it is asked whether a load was made elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// When one that failed is tried again.
const AGAIN_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Makes events after each load, until it is told to stop. A load never waits for it.
pub(super) async fn keep(
    app: Arc<App>,
    pipelines: Arc<Vec<Pipeline>>,
    warehouse: Warehouse,
    loaded: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) {
    if app.settings.metabase.is_none() {
        return;
    }
    let titles = titles(&pipelines);
    tokio::select! {
        // Broken off, the rest is made by the next look.
        _ = stopping.wait_for(|stop| *stop) => {}
        () = keep_looking(&app, &warehouse, &titles, &loaded) => {}
    }
}

async fn keep_looking(app: &App, warehouse: &Warehouse, titles: &Titles, loaded: &Notify) {
    let mut not_before = None;
    loop {
        let now = app.clock.now();
        if not_before.is_none_or(|until| now >= until) {
            not_before = None;
            match make(app, warehouse, titles).await {
                Ok(Some(Events { made, brands })) => info!(made, brands, "put events of loads onto the charts"),
                Ok(None) => {}
                Err(failure) => {
                    not_before = Some(now + AGAIN_AFTER);
                    warn!(error = failure.message, hint = failure.hint, "events of loads did not reach the charts");
                }
            }
        }
        tokio::select! {
            () = loaded.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// `None` where there was nothing to tell, or somebody else is changing the instance.
async fn make(app: &App, warehouse: &Warehouse, titles: &Titles) -> Result<Option<Events>, Failure> {
    let opened = Opened::over(app, warehouse.clone())?;
    let context = opened.context();
    if !metabase::events_are_due(&context).await? {
        return Ok(None);
    }
    match metabase::events(&context, titles).await {
        Ok(events) => Ok(Some(events)),
        Err(metabase::Error::Busy) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
