//! Reads the body of a cloud whose user writes it by template: JSON, form or text, with a content type that may be
//! missing or wrong. Not here: what its fields mean, and bodies of a fixed shape.

use serde_json::{Map, Value};

use super::fields::{object_of_pairs, parse_json, parse_object, parse_pairs};
use crate::connector::Malformed;

/// A body as far as its form goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    /// Nothing, or only blanks.
    Empty,
    /// A JSON object, or the pairs of a form.
    Object(Map<String, Value>),
    /// JSON, but no object.
    Json(Value),
    /// Text that is neither JSON nor pairs.
    Text(String),
}

/// Reads a body by its content type (lower case, no parameters). A form that holds a JSON object is one: the content
/// type of a template is chosen apart from its text. Any other type is read as what the text looks like.
///
/// # Errors
/// When the type says JSON and the body is not, or the body is not UTF-8 (a form may be: its bytes are replaced).
pub(super) fn read(content_type: &str, body: &[u8]) -> Result<Body, Malformed> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Body::Empty);
    }
    if is_json(content_type) {
        return Ok(match parse_json(body)? {
            Value::Object(object) => Body::Object(object),
            other => Body::Json(other),
        });
    }
    if is_form(content_type) {
        let text = String::from_utf8_lossy(body);
        return Ok(Body::Object(json_object(&text).unwrap_or_else(|| pairs(&text))));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Malformed("the body is neither JSON nor text in UTF-8".into()));
    };
    Ok(if let Some(object) = json_object(text) {
        Body::Object(object)
    } else if looks_like_pairs(text) {
        Body::Object(pairs(text))
    } else {
        Body::Text(text.to_owned())
    })
}

/// Whether the type is `application/json` or a relative of it.
pub(super) fn is_json(content_type: &str) -> bool {
    matches!(content_type, "application/json" | "text/json") || content_type.ends_with("+json")
}

/// Whether the type is that of a form.
pub(super) fn is_form(content_type: &str) -> bool {
    content_type == "application/x-www-form-urlencoded"
}

fn json_object(text: &str) -> Option<Map<String, Value>> {
    text.trim_start().starts_with('{').then(|| parse_object(text.as_bytes()).ok()).flatten()
}

fn pairs(text: &str) -> Map<String, Value> {
    object_of_pairs(parse_pairs(text.trim_end_matches(['\r', '\n'])))
}

/// `key=value&key=value` with keys of plain characters: text that happens to hold a `=` is not taken for a form.
fn looks_like_pairs(text: &str) -> bool {
    let is_key = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.%#+~[]".contains(&b))
    };
    let is_pair = |part: &str| part.split_once('=').is_some_and(|(key, _)| is_key(key));
    !text.trim().contains(char::is_whitespace) && text.trim().split('&').all(is_pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Result<Body, Malformed> {
        Ok(Body::Object(value.as_object().unwrap().clone()))
    }

    #[test]
    fn the_content_type_decides_and_the_text_helps() {
        assert_eq!(read("application/json", b" \r\n"), Ok(Body::Empty));
        assert_eq!(read("application/json", b"{\"a\":1}"), object(&json!({"a": 1})));
        assert_eq!(read("application/json", b"[1]"), Ok(Body::Json(json!([1]))));
        assert!(read("application/json", b"a=1").is_err());
        assert_eq!(
            read("application/x-www-form-urlencoded", b"a=1&b=x%3B"),
            object(&json!({"a": "1", "b": "x;"}))
        );
        assert_eq!(read("application/x-www-form-urlencoded", b"{\"a\":1}"), object(&json!({"a": 1})));
        assert_eq!(read("text/plain", b"a=1&b=\n"), object(&json!({"a": "1", "b": ""})));
        assert_eq!(read("", b"{\"a\":1}"), object(&json!({"a": 1})));
        assert_eq!(read("text/plain", b"{not json"), Ok(Body::Text("{not json".into())));
        assert_eq!(read("text/plain", b"x = 1"), Ok(Body::Text("x = 1".into())));
        assert_eq!(read("text/plain", b"1A;2;3;"), Ok(Body::Text("1A;2;3;".into())));
        assert!(read("text/plain", &[0xff, 0xfe]).is_err());
    }
}
