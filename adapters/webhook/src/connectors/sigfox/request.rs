//! From a request to the records in it: one, or those of a batch. Not here: what they mean.

use bridge_core::{Problem, Reason};
use serde_json::Map;

use super::pattern::LinePattern;
use super::record::Record;
use super::service::Service;
use super::settings::SigfoxSettings;
use super::variables::Variable;
use crate::connector::{Malformed, Request};
use crate::connectors::body::{self, Body};
use crate::connectors::fields;

/// Reads the records of a request; a line that cannot be read is a problem beside its neighbours.
///
/// # Errors
/// When the body is not of the form that its content type says.
pub(super) fn records(
    settings: &SigfoxSettings,
    request: &Request<'_>,
) -> Result<Vec<Result<Record, Problem>>, Malformed> {
    let query = fields::object_of_pairs(fields::parse_pairs(request.query));
    if let Some((pattern, text)) = text_of_lines(settings, request) {
        return Ok(lines(pattern, text, None));
    }
    let body = match body::read(request.content_type, request.body)? {
        Body::Empty => Map::new(),
        Body::Object(object) => object,
        Body::Json(_) => return Err(Malformed("the JSON body is not an object".into())),
        Body::Text(text) => {
            return Ok(match &settings.line_pattern {
                Some(pattern) => lines(pattern, &text, None),
                None => vec![Err(unmappable("a text body needs the setting `line_pattern`"))],
            });
        }
    };
    let batch = [&body, &query].into_iter().find_map(|fields| fields.get(&settings.batch_field)?.as_str());
    let batch = batch.map(str::to_owned);
    let record = Record::read(&settings.keys, body, query);
    let named = record.has(Variable::Device);
    Ok(match (batch, &settings.line_pattern) {
        // A batch names its devices in its lines; with a device beside it, the key is a field of that device.
        (Some(text), Some(pattern)) if !named => lines(pattern, &text, record.service),
        (Some(_), None) if !named && request.path_device.is_none() => {
            vec![Err(unmappable("a batch needs the setting `line_pattern`"))]
        }
        _ => vec![Ok(record)],
    })
}

/// A body of lines, when it is text by its type and written like the pattern: before it is taken for a form.
fn text_of_lines<'a>(
    settings: &'a SigfoxSettings,
    request: &Request<'a>,
) -> Option<(&'a LinePattern, &'a str)> {
    if body::is_json(request.content_type) || body::is_form(request.content_type) {
        return None;
    }
    let pattern = settings.line_pattern.as_ref()?;
    let text = std::str::from_utf8(request.body).ok()?;
    (!text.trim_start().starts_with('{') && pattern.matches_start(text)).then_some((pattern, text))
}

/// The records of a text; `service` is what a constant beside the lines says that they are.
fn lines(pattern: &LinePattern, text: &str, service: Option<Service>) -> Vec<Result<Record, Problem>> {
    let lines = pattern.lines(text);
    if lines.is_empty() {
        return vec![Err(unmappable("the batch is empty"))];
    }
    let read = |(index, line): (usize, Result<_, _>)| match line {
        Ok(values) => Ok(Record::from_line(values, service)),
        Err(super::pattern::NoMatch) => {
            Err(unmappable(&format!("line {} is not written like `line_pattern`", index + 1)))
        }
    };
    lines.into_iter().enumerate().map(read).collect()
}

fn unmappable(detail: &str) -> Problem {
    Problem { reason: Reason::Unmappable, detail: detail.to_owned() }
}
