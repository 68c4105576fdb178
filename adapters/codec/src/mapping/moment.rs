//! Values that are a time. Not here: where they come from.

use bridge_core::time::Timestamp;
use serde_json::Value;

use super::TimeFormat;
use super::apply::number;

/// Reads a time.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn read(
    value: &Value,
    format: TimeFormat,
    received_at: Timestamp,
) -> Result<Timestamp, &'static str> {
    const OUTSIDE: &str = "is not between the years 1970 and 9999";
    let text_or_number = || number(value).and_then(|number| number.as_f64()).ok_or("is not a number");
    let moment = match format {
        TimeFormat::Rfc3339 => {
            let time = value.as_str().and_then(Timestamp::parse_rfc3339);
            return time.ok_or("is not a time of RFC 3339 between the years 1970 and 9999");
        }
        TimeFormat::Seconds => milliseconds(text_or_number()?),
        TimeFormat::Milliseconds => text_or_number()?,
        TimeFormat::SecondsAgo => {
            let seconds = text_or_number()?;
            if seconds < 0.0 {
                return Err("is a time after the payload was received");
            }
            received_at.as_millis() as f64 - milliseconds(seconds)
        }
    };
    // The cast saturates, outside the range.
    Timestamp::from_millis(moment.floor() as i64).ok_or(OUTSIDE)
}

/// Moves the decimal point of what was written: a product may end a hair below the whole millisecond.
fn milliseconds(seconds: f64) -> f64 {
    format!("{seconds}e3").parse().unwrap_or(seconds * 1000.0)
}
