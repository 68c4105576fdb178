//! Exceptions of the engine as errors for people: kind, words, line and column. Not here: running a script.

use rquickjs::{Ctx, Object, Value};

use super::error::{Fault, ScriptError};

/// The file name under which the engine knows every script; the prelude has another.
pub(super) const FILE: &str = "<codec>";
/// Of `throw null`; the engine does the same when it has no memory left for an error.
pub(super) const NULL: &str = "threw null";
const MESSAGE_LIMIT: usize = 500;

/// Where the engine gave up, from the exception that it left in `ctx`. `prefix` is how many characters of the first
/// line are not the script's; `timed_out` says whether the deadline was the
/// reason, and is asked last: looking at what was thrown may run a getter of the script.
pub(super) fn caught(
    ctx: &Ctx<'_>,
    codec: &str,
    prefix: u32,
    timed_out: impl FnOnce() -> bool,
) -> ScriptError {
    let thrown = ctx.catch();
    let text = |object: &Object<'_>, key: &str| object.get::<_, String>(key).ok();
    let (name, message, place) = match thrown.as_object() {
        Some(object) => {
            let place = text(object, "stack").and_then(|stack| place(&stack, prefix));
            (text(object, "name"), text(object, "message").unwrap_or_default(), place)
        }
        None => (None, primitive(&thrown), None),
    };
    // A getter of the thrown object may have thrown in turn.
    ctx.catch();
    let of_engine = thrown.as_object().is_some_and(|object| object.is_error());
    let fault = |message: &str| Fault::new(codec, message).at(place);
    if timed_out() {
        return ScriptError::TimedOut(fault("took longer than its deadline"));
    }
    if of_engine && name.as_deref() == Some("InternalError") && message.starts_with("out of memory") {
        return ScriptError::OutOfMemory(fault("needed more memory than a codec may have"));
    }
    if of_engine && message == "Maximum call stack size exceeded" {
        return ScriptError::StackOverflow(fault("functions called each other too deep"));
    }
    let whole = match (name.as_deref().unwrap_or_default(), message.as_str()) {
        ("", "") => "threw an object without a message".to_owned(),
        (name, "") => name.to_owned(),
        ("", message) => message.to_owned(),
        (name, message) => format!("{name}: {message}"),
    };
    let whole: String = whole.chars().take(MESSAGE_LIMIT).collect();
    ScriptError::Thrown(fault(&whole))
}

fn primitive(value: &Value<'_>) -> String {
    if let Some(text) = value.as_string() {
        return match text.to_string() {
            Ok(text) if text.is_empty() => "threw an empty text".to_owned(),
            Ok(text) => text,
            Err(_) => "threw a text that is not Unicode".to_owned(),
        };
    }
    if value.is_null() {
        return NULL.to_owned();
    }
    match value.as_number() {
        Some(number) => format!("threw the number {number}"),
        None => format!("threw {}", value.type_name()),
    }
}

/// The first frame of the script in a stack such as `    at decodeUplink (<codec>:12:5)`.
fn place(stack: &str, prefix: u32) -> Option<(u32, u32)> {
    stack.lines().find_map(|frame| {
        let (_, rest) = frame.rsplit_once(FILE)?;
        let mut numbers = rest.trim_start_matches(':').trim_end_matches(')').split(':');
        let line: u32 = numbers.next()?.parse().ok()?;
        let column: u32 = numbers.next()?.parse().ok()?;
        Some((line, if line == 1 { column.saturating_sub(prefix).max(1) } else { column }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_frame_of_the_script() {
        for (stack, want) in [
            ("    at decodeUplink (<codec>:12:5)\n    at <codec>:1:3\n", Some((12, 5))),
            ("    at call (native)\n    at <codec>:1:60\n", Some((1, 10))),
            ("    at entry (<host>:3:1)\n", None),
            ("    at x (<codec>)\n", None),
            ("", None),
        ] {
            assert_eq!(place(stack, 50), want, "{stack}");
        }
    }
}
