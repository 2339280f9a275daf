//! GitHub never delivers a webhook again by itself, and keeps it for three days: at the start and every ten
//! minutes Porter asks for those that failed while it was away (main-spec §5).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, Error, intake};
use github::HookDelivery;

/// How long GitHub keeps deliveries (docs.github.com, "Redelivering webhooks").
const DELIVERY_RETENTION: TimeDelta = TimeDelta::days(3);
/// The pause before an event is asked for a second time; doubled each time after, up to the longest. As long as
/// GitHub keeps it, nothing is given up: a disk may be full for a day.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(10);
const MAX_PAUSE: TimeDelta = TimeDelta::hours(2);
/// The pause before a question that failed is asked again.
const AGAIN: TimeDelta = TimeDelta::seconds(5);
/// After so many failures in a row GitHub is left alone for a while.
const MAX_REQUESTS: u32 = 3;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many deliveries were asked for.
    pub asked: usize,
    /// What has not arrived yet.
    pub missing: Option<Missing>,
}

/// Events that have not arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// When GitHub first tried to deliver the oldest.
    pub since: DateTime<Utc>,
    /// When one of them is to be asked for again.
    pub due: DateTime<Utc>,
}

/// Asks again for every delivery since `since` (at most three days back) that never arrived and is due.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`]; what was asked for stays asked for.
pub async fn sweep(context: &Context, since: Option<DateTime<Utc>>) -> Result<Swept, Error> {
    let now = context.now();
    let since = since.unwrap_or(now - DELIVERY_RETENTION).max(now - DELIVERY_RETENTION);
    let mut cursor = None;
    let mut events: BTreeMap<String, Vec<HookDelivery>> = BTreeMap::new();
    loop {
        let (page, next) = match context.github.list_deliveries(cursor.as_deref()).await {
            Ok(page) => page,
            // No webhook is configured, or this GitHub keeps no deliveries: there is nothing to ask for.
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

/// Asks for what is due. One that fails does not keep the others from coming.
async fn ask_for(context: &Context, lost: Vec<Lost<'_>>) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    let mut in_a_row = 0;
    for Lost { latest, since, mut due, tries } in lost {
        if due <= context.now() {
            match context.github.redeliver(latest.id).await {
                Ok(()) => {
                    tracing::info!(github.delivery_id = %latest.guid, "asked GitHub to deliver again");
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
                    tracing::warn!(github.delivery_id = %latest.guid, %error, "GitHub does not deliver again");
                    continue;
                }
            }
        }
        let missing = swept.missing.unwrap_or(Missing { since, due });
        swept.missing = Some(Missing { since: missing.since.min(since), due: missing.due.min(due) });
    }
    Ok(swept)
}

/// An event of which no try arrived.
struct Lost<'a> {
    latest: &'a HookDelivery,
    since: DateTime<Utc>,
    due: DateTime<Utc>,
    tries: usize,
}

impl<'a> Lost<'a> {
    /// Nothing when one of the event's tries arrived, was answered with Porter's own refusal, or cannot matter.
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

/// How long after the last of so many tries the next one is due. The first repetition is due at once.
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
    fn an_event_is_asked_for_at_once_and_then_ever_more_rarely() {
        let pauses: Vec<i64> =
            [1, 2, 3, 4, 9, 10, 11, 99].map(|tries| pause_after(tries).num_seconds()).into();
        assert_eq!(pauses, [0, 10, 20, 40, 1280, 2560, 5120, 7200]);
    }
}
