//! `/admin/v1/dead-letters`: list, show, send again, remove. Not here: who sends them again (`crate::housekeeping`).

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bridge_core::Reason;
use bridge_core::ports::{DeadLetter, DeadLetterFilter, DeadLetters, RawRequest};
use http::StatusCode;
use serde_json::{Value, json};

use super::body::{Answer, Asked, Declined};
use super::devices::integration;
use super::{Admin, done, page};

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    integration: Option<String>,
    device: Option<String>,
    reason: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// Which are meant. All of them have to be asked for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    number: Option<u64>,
    integration: Option<String>,
    device: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    all: bool,
}

/// Letters that are in memory at once, each with its request.
const AT_ONCE: usize = 20;
/// The greatest number that the store has (SQLite's INTEGER, 64 bits with a sign).
const LAST: u64 = i64::MAX as u64;

/// The oldest first, without what they hold; `after` takes the last number of the page before.
pub(super) async fn list(State(admin): State<Admin>, Asked(query): Asked<ListQuery>) -> Answer {
    let filter = filter(None, query.integration.as_deref(), query.device, query.reason.as_deref())?;
    let (mut after, wanted) = (query.after.unwrap_or_default(), page(query.limit));
    let mut letters = Vec::new();
    while letters.len() < wanted {
        let limit = AT_ONCE.min(wanted - letters.len());
        let found = DeadLetters::list(&*admin.0.store, &filter, after, limit).await?;
        letters.extend(found.iter().map(summary));
        match found.last() {
            Some(last) if found.len() == limit => after = last.number,
            _ => break,
        }
    }
    done(&letters.into())
}

/// One, with the request that it came by, or its message.
pub(super) async fn show(State(admin): State<Admin>, Path(number): Path<String>) -> Answer {
    let found = DeadLetters::list(&*admin.0.store, &one(&number)?, 0, 1).await?;
    done(&full(found.first().ok_or_else(unknown)?))
}

/// 202 with how many will be sent through again within seconds; what goes through is removed.
pub(super) async fn replay(State(admin): State<Admin>, Asked(which): Asked<Which>) -> Answer {
    let marked = DeadLetters::mark_for_replay(&*admin.0.store, &which.filter()?).await?;
    accepted(marked)
}

/// The same for one. A letter that waits for it already is no fault.
pub(super) async fn replay_one(State(admin): State<Admin>, Path(number): Path<String>) -> Answer {
    let (filter, store) = (one(&number)?, &*admin.0.store);
    let marked = DeadLetters::mark_for_replay(store, &filter).await?;
    if marked == 0 && DeadLetters::list(store, &filter, 0, 1).await?.is_empty() {
        return Err(unknown());
    }
    accepted(marked)
}

/// Letters that one request removes at most.
const REMOVED_AT_ONCE: usize = 1000;

/// 200 with how many were removed for good, the oldest first.
pub(super) async fn remove(State(admin): State<Admin>, Asked(which): Asked<Which>) -> Answer {
    let removed = DeadLetters::remove_matching(&*admin.0.store, &which.filter()?, REMOVED_AT_ONCE).await?;
    done(&json!({ "removed": removed }))
}

/// 204.
pub(super) async fn remove_one(State(admin): State<Admin>, Path(number): Path<String>) -> Answer {
    match DeadLetters::remove_matching(&*admin.0.store, &one(&number)?, 1).await? {
        0 => Err(unknown()),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

impl Which {
    fn filter(self) -> Result<DeadLetterFilter, Declined> {
        let filter = filter(self.number, self.integration.as_deref(), self.device, self.reason.as_deref())?;
        match (filter == DeadLetterFilter::default(), self.all) {
            (true, false) => {
                let why = "Say which: number, integration, device, reason; or all=true.";
                Err(Declined::malformed(why))
            }
            (false, true) => Err(Declined::malformed("Beside all=true nothing else can be said.")),
            (true, true) | (false, false) => Ok(filter),
        }
    }
}

fn filter(
    number: Option<u64>,
    integration_name: Option<&str>,
    device: Option<String>,
    reason: Option<&str>,
) -> Result<DeadLetterFilter, Declined> {
    if number.is_some_and(|number| number > LAST) {
        return Err(Declined::malformed(&format!("\"number\" is greater than {LAST}.")));
    }
    let reason = reason.map(|name| {
        Reason::parse(name).ok_or_else(|| {
            let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
            Declined::malformed(&format!("\"reason\" is none of {}.", names.join(", ")))
        })
    });
    Ok(DeadLetterFilter {
        integration: integration(integration_name)?,
        device,
        reason: reason.transpose()?,
        number,
    })
}

/// The filter for the letter of a path. What is no number is the number of no letter.
fn one(number: &str) -> Result<DeadLetterFilter, Declined> {
    let number = number.parse().ok().filter(|number| *number <= LAST).ok_or_else(unknown)?;
    Ok(DeadLetterFilter { number: Some(number), ..DeadLetterFilter::default() })
}

fn unknown() -> Declined {
    let why = "There is no dead letter with this number.";
    Declined::unknown("unknown-dead-letter", "Unknown dead letter", why)
}

fn accepted(marked: u64) -> Answer {
    Ok((StatusCode::ACCEPTED, done(&json!({ "marked": marked }))?).into_response())
}

fn summary(letter: &DeadLetter) -> Value {
    let DeadLetter { number, letter, replay } = letter;
    json!({
        "number": number,
        "at": letter.at.to_string(),
        "integration": letter.integration.as_str(),
        "device": letter.device,
        "reason": letter.reason.as_str(),
        "detail": letter.detail,
        "replay": replay,
    })
}

fn full(letter: &DeadLetter) -> Value {
    let mut full = summary(letter);
    let request = letter.letter.request.as_ref();
    full["request"] = request.map(written).unwrap_or_default();
    let record = letter.letter.record.as_deref();
    full["message"] = record.and_then(|record| serde_json::from_slice(record).ok()).unwrap_or_default();
    full
}

fn written(request: &RawRequest) -> Value {
    // As text where it is one: people read it.
    let (text, base64) = match std::str::from_utf8(&request.body) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(&request.body))),
    };
    json!({
        "method": request.method,
        "device": request.path_device,
        "query": request.query,
        "contentType": request.content_type,
        "text": text,
        "base64": base64,
    })
}
