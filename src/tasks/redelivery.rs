//! GitHub never delivers a webhook again by itself, and keeps it for three days: at the start and every ten
//! minutes Porter asks for those that failed while it was away (contract §5).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Error};
use crate::db;
use crate::github::{self, HookDelivery};

/// How long GitHub keeps deliveries (docs.github.com, "Redelivering webhooks").
const KEPT: TimeDelta = TimeDelta::days(3);
/// How often one event is asked for before it is left alone.
const MOST_TRIES: usize = 5;

/// Asks again for every delivery since `since` (at most three days back) that never arrived. Gives their
/// number.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`]; what was asked for stays asked for.
pub async fn sweep(context: &Context, since: Option<DateTime<Utc>>) -> Result<usize, Error> {
    let since = since.unwrap_or(context.now() - KEPT).max(context.now() - KEPT);
    let mut cursor = None;
    let mut events: BTreeMap<String, Vec<HookDelivery>> = BTreeMap::new();
    loop {
        let (page, next) = match context.github.list_deliveries(cursor.as_deref()).await {
            Ok(page) => page,
            // No webhook is configured, or this GitHub keeps no deliveries: there is nothing to ask for.
            Err(github::Error::NotFound { .. }) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let reached_the_end = page.iter().any(|delivery| delivery.delivered_at < since);
        for delivery in page {
            events.entry(delivery.guid.clone()).or_default().push(delivery);
        }
        match next {
            Some(next) if !reached_the_end => cursor = Some(next),
            _ => break,
        }
    }
    let lost: Vec<&HookDelivery> = events.values().filter_map(|tries| lost(tries)).collect();
    let guids: Vec<String> = lost.iter().map(|delivery| delivery.guid.clone()).collect();
    let known = db::deliveries::list_known(&mut *context.db.read().await?, &guids).await?;
    let mut asked = 0;
    for delivery in lost.into_iter().filter(|delivery| !known.contains(&delivery.guid)) {
        match context.github.redeliver(delivery.id).await {
            Ok(()) => {
                tracing::info!(github.delivery_id = %delivery.guid, "asked GitHub to deliver again");
                asked += 1;
            }
            Err(error) if error.may_pass() => return Err(error.into()),
            // One that GitHub no longer keeps must not keep the others from coming.
            Err(error) => {
                tracing::warn!(github.delivery_id = %delivery.guid, %error, "GitHub does not deliver again");
            }
        }
    }
    Ok(asked)
}

/// The delivery to ask for again, when none of an event's tries arrived and the answer was not Porter's own
/// refusal.
fn lost(tries: &[HookDelivery]) -> Option<&HookDelivery> {
    let arrived = tries.iter().any(|delivery| {
        let refused = matches!(delivery.status_code, 400 | 401 | 413);
        (200..300).contains(&delivery.status_code) || delivery.status == "OK" || refused
    });
    if arrived || tries.len() >= MOST_TRIES { None } else { tries.first() }
}
