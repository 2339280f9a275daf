//! Requests redelivery of webhooks that failed while Porter was down. GitHub keeps deliveries for three days and does
//! not retry them itself, so Porter asks at the start and every ten minutes (main-spec §5).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Error, intake};
use github::HookDelivery;

/// How long GitHub keeps deliveries (docs.github.com, "Redelivering webhooks").
const DELIVERY_RETENTION: TimeDelta = TimeDelta::days(3);
/// The delay before an event is requested a second time. It doubles after each request, up to [`MAX_PAUSE`]. Requests
/// continue as long as GitHub keeps the event, because a disk may stay full for a day.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(10);
const MAX_PAUSE: TimeDelta = TimeDelta::hours(2);
/// The delay before a failed request is repeated.
const AGAIN: TimeDelta = TimeDelta::seconds(5);
/// The number of consecutive failures after which a sweep stops sending requests.
const MAX_REQUESTS: u32 = 3;

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The number of requested redeliveries.
    pub asked: usize,
    /// The events that have not arrived yet.
    pub missing: Option<Missing>,
}

/// Events that have not arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The time of GitHub's first try to deliver the oldest event.
    pub since: DateTime<Utc>,
    /// The time of the next request for one of them.
    pub due: DateTime<Utc>,
}

/// Requests every delivery since `since`, at most three days back, that never arrived and is due.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`]; redeliveries that were already requested are not undone.
pub async fn sweep(context: &Context, since: Option<DateTime<Utc>>) -> Result<Swept, Error> {
    let now = context.now();
    let since = since.unwrap_or(now - DELIVERY_RETENTION).max(now - DELIVERY_RETENTION);
    let mut cursor = None;
    let mut events: BTreeMap<String, Vec<HookDelivery>> = BTreeMap::new();
    loop {
        let (page, next) = match context.github.list_deliveries(cursor.as_deref()).await {
            Ok(page) => page,
            // No webhook is configured, or this GitHub keeps no deliveries, so nothing can be requested.
            Err(github::Error { kind: github::Kind::NotFound, .. }) => return Ok(Swept::default()),
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
    let mut lost: Vec<Lost> = events.values().filter_map(|tries| Lost::read(tries)).collect();
    let guids: Vec<&str> = lost.iter().map(|lost| lost.latest.guid.as_str()).collect();
    let known = db::deliveries::list_known(&mut *context.store.read().await?, &guids, &[]).await?;
    let known: BTreeSet<String> = known.into_iter().map(|delivery| delivery.guid).collect();
    lost.retain(|lost| !known.contains(&lost.latest.guid));
    lost.sort_by_key(|lost| lost.since);
    ask_for(context, lost).await
}

/// Requests the events that are due. A failed request does not prevent the others.
async fn ask_for(context: &Context, lost: Vec<Lost<'_>>) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    let mut in_a_row = 0;
    for Lost { latest, since, mut due, tries } in lost {
        if due <= context.now() {
            match context.github.redeliver(latest.id).await {
                Ok(()) => {
                    tracing::info!(github.delivery_id = %latest.guid, "requested a redelivery from GitHub");
                    swept.asked += 1;
                    in_a_row = 0;
                    due = context.now() + pause_after(tries + 1);
                }
                Err(error @ github::Error { kind: github::Kind::RateLimited { .. }, .. }) => {
                    return Err(error.into());
                }
                Err(error) if error.may_pass() => {
                    in_a_row += 1;
                    if in_a_row == MAX_REQUESTS {
                        return Err(error.into());
                    }
                    due = context.now() + AGAIN;
                }
                Err(error) => {
                    tracing::warn!(
                        github.delivery_id = %latest.guid,
                        %error,
                        "GitHub rejected the redelivery request"
                    );
                    continue;
                }
            }
        }
        let missing = swept.missing.unwrap_or(Missing { since, due });
        swept.missing = Some(Missing { since: missing.since.min(since), due: missing.due.min(due) });
    }
    Ok(swept)
}

/// An event of which no delivery arrived.
struct Lost<'a> {
    latest: &'a HookDelivery,
    since: DateTime<Utc>,
    due: DateTime<Utc>,
    tries: usize,
}

impl<'a> Lost<'a> {
    /// Returns `None` when one of the event's deliveries arrived or was refused by Porter, or the event is
    /// irrelevant.
    fn read(tries: &'a [HookDelivery]) -> Option<Self> {
        let arrived = tries.iter().any(|delivery| {
            let refused = matches!(delivery.status_code, 400 | 401 | 413);
            (200..300).contains(&delivery.status_code) || delivery.status == "OK" || refused
        });
        let latest = tries.iter().max_by_key(|delivery| (delivery.delivered_at, delivery.id))?;
        let since = tries.iter().map(|delivery| delivery.delivered_at).min()?;
        let due = latest.delivered_at + pause_after(tries.len());
        let matters = intake::concerns(&latest.event, latest.action.as_deref());
        (matters && !arrived).then_some(Self { latest, since, due, tries: tries.len() })
    }
}

/// Returns the delay between the last of `tries` deliveries and the next request. The first request is due at once.
fn pause_after(tries: usize) -> TimeDelta {
    match tries {
        0 | 1 => TimeDelta::zero(),
        _ => FIRST_PAUSE * (1 << (tries - 2).min(10)),
    }
    .min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_requested_at_once_and_then_with_growing_delays() {
        let pauses: Vec<i64> =
            [1, 2, 3, 4, 9, 10, 11, 99].map(|tries| pause_after(tries).num_seconds()).into();
        assert_eq!(pauses, [0, 10, 20, 40, 1280, 2560, 5120, 7200]);
    }
}
