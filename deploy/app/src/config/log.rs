//! `[log]`: what the log says and how it looks.

use super::choice::choices;
use super::reader::Section;
use super::sheet::{Sheet, quoted, words};
use super::suggest::suggest;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

choices! {
    /// How a line of the log looks.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is said: a filter of `tracing-subscriber` such as `info,mqtt_hub=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

impl Log {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let log = Self {
            format: section.or("format", default.format, |field| field.one_of(LogFormat::CHOICES)),
            level: section.or("level", default.level, |field| field.parse(parse_filter)),
        };
        section.finish();
        log
    }

    pub(super) fn describe(sheet: &mut Sheet) {
        let default = Self::default();
        sheet.table("log", "The log. It never holds payloads or secrets.");
        sheet.explained(
            "format",
            &quoted(default.format.as_str()),
            &format!("What a line looks like: {}.", words(LogFormat::CHOICES)),
        );
        sheet.explained(
            "level",
            &quoted(&default.level),
            &format!("One of {}, or by part: \"info,mqtt_hub=debug\".", LEVELS.join(", ")),
        );
    }
}

/// Checks a filter roughly: levels, alone or after `target=`, separated by commas. Span and field filters in brackets are
/// left to the subscriber.
fn parse_filter(text: &str) -> Result<String, String> {
    let mut depth = 0_i32;
    let directives = text.split(|c: char| {
        depth += i32::from(matches!(c, '[' | '{')) - i32::from(matches!(c, ']' | '}'));
        c == ',' && depth == 0
    });
    for directive in directives {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        let is_level = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))
            || matches!(level, "0" | "1" | "2" | "3" | "4" | "5");
        if !is_level && !directive.contains('[') {
            let meant =
                suggest(level, LEVELS).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return Err(format!(
                "must be a level ({}), or levels by part such as \"info,mqtt_hub=debug\"{meant}",
                LEVELS.join(", ")
            ));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_filter;

    #[test]
    fn filters_need_levels() {
        for good in [
            "info",
            "WARN",
            "info,mqtt_hub=debug",
            "warn, webhook::receiver=trace",
            "app[request{id=1,x=2}]=debug,info",
        ] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,", "mqtt_hub", "mqtt_hub=verbose", "info;debug"] {
            assert!(parse_filter(bad).is_err(), "{bad}");
        }
        assert!(parse_filter("inof").unwrap_err().ends_with("did you mean info?"));
    }
}
