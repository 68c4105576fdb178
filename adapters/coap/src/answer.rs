//! Verdicts, faults and refusals become responses: the one place of this crate that knows codes. Every error has a sentence
//! as its diagnostic payload (RFC 7252 section 5.5.2). Not here: deciding.

use std::time::Duration;

use bridge_core::counters::Refusal;
use bridge_core::{Reason, Timestamp, Verdict};
use coap_proto::{Code, Request, Response, number};
use edge::Fault;

use crate::resource::{CBOR, TEXT};

/// What a device is told to wait when the bridge itself could not.
const LATER: Duration = Duration::from_secs(5);

/// A request that goes no further: what it is counted as, and its answer.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) response: Response,
    /// For the trace and the log; holds neither token nor payload.
    pub(crate) detail: String,
}

/// What became of a request whose items were handed on. 2.04 means that all of it is with the hub or on disk.
pub(crate) fn verdicts(verdicts: &[Verdict]) -> Response {
    let retry = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Retry(after) => Some(*after),
        _ => None,
    });
    if let Some(after) = retry.max() {
        return later(Code::SERVICE_UNAVAILABLE, "not taken: try again", after);
    }
    let rejected = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Rejected(reason) => Some(*reason),
        _ => None,
    });
    match rejected {
        None => Response::new(Code::CHANGED),
        Some(Reason::RefusedByHub) => {
            Response::error(Code::UNPROCESSABLE_ENTITY, "refused by the hub; kept as a dead letter")
        }
        Some(reason) => {
            Response::error(Code::UNPROCESSABLE_ENTITY, &format!("{reason}; kept as a dead letter"))
        }
    }
}

/// The time: seconds since 1970 as decimal text, or as CBOR with tag 1 (RFC 8949 section 3.4.2).
pub(crate) fn time(request: &Request, now: Timestamp) -> Response {
    if request.code != Code::GET {
        return not_allowed();
    }
    let seconds = u64::try_from(now.as_millis() / 1000).unwrap_or_default();
    let response = match request.negotiate(&[TEXT, CBOR]) {
        Err(refusal) => return refusal,
        Ok(Some(CBOR)) => {
            let number = match u32::try_from(seconds) {
                Ok(seconds) => [&[0x1a][..], &seconds.to_be_bytes()].concat(),
                Err(_) => [&[0x1b][..], &seconds.to_be_bytes()].concat(),
            };
            Response::content(CBOR, [&[0xc1][..], &number].concat())
        }
        Ok(_) => Response::content(TEXT, seconds.to_string()),
    };
    response.with_uint(number::MAX_AGE, 0)
}

/// There is no such resource.
pub(crate) fn not_found() -> Response {
    Response::error(Code::NOT_FOUND, "no such resource")
}

/// The bridge could not, by its own fault.
pub(crate) fn internal() -> Response {
    Response::error(Code::INTERNAL_SERVER_ERROR, "this is a bug of the bridge")
}

/// The bridge is about to end.
pub(crate) fn closing() -> Response {
    later(Code::SERVICE_UNAVAILABLE, "the bridge restarts", LATER)
}

/// The resource has no such method.
pub(crate) fn method() -> Refused {
    refused(Refusal::Method, not_allowed())
}

/// If-Match or If-None-Match does not hold.
pub(crate) fn precondition(response: Response) -> Refused {
    refused(Refusal::Malformed, response)
}

/// A newer request of the device waits for what this one observes.
pub(crate) fn displaced() -> Response {
    Response::error(Code::CONFLICT, "a newer request of this device waits")
}

/// No representation in the format of `Accept`.
pub(crate) fn not_acceptable(response: Response) -> Refused {
    refused(Refusal::Encoding, response)
}

/// The device has no such command.
pub(crate) fn unknown_command() -> Refused {
    refused(Refusal::Malformed, Response::error(Code::NOT_FOUND, "this device has no command of this id"))
}

/// Whatever is said about that command now changes nothing.
pub(crate) fn too_late(why: &str) -> Refused {
    refused(Refusal::Malformed, Response::error(Code::CONFLICT, why))
}

/// No token, or a wrong one.
pub(crate) fn unauthorized() -> Refused {
    refused(Refusal::Unauthorized, Response::error(Code::UNAUTHORIZED, "t=TOKEN of the device is needed"))
}

/// The key that it proved is not its key any more.
pub(crate) fn revoked() -> Refused {
    refused(Refusal::Unauthorized, Response::error(Code::UNAUTHORIZED, "this key is no longer good"))
}

/// It is another device that has proven itself.
pub(crate) fn out_of_scope() -> Refused {
    refused(Refusal::Forbidden, Response::error(Code::FORBIDDEN, "this token or key is not for this device"))
}

/// The device is not there.
pub(crate) fn unknown_device() -> Refused {
    refused(Refusal::UnknownDevice, Response::error(Code::NOT_FOUND, "no device of this id is registered"))
}

/// The registry does not let the device pass.
pub(crate) fn not_admitted(reason: Reason) -> Refused {
    let text = match reason {
        Reason::UnknownDevice | Reason::InvalidDeviceId => return unknown_device(),
        Reason::DeviceIdCollision => "this id belongs to a device of another integration",
        _ => "the device waits for approval",
    };
    refused(Refusal::Forbidden, Response::error(Code::FORBIDDEN, text))
}

/// The content format is not taken here.
pub(crate) fn format() -> Refused {
    let response = Response::error(Code::UNSUPPORTED_CONTENT_FORMAT, "content format not supported here");
    refused(Refusal::Encoding, response)
}

/// `i=` cannot be a key.
pub(crate) fn bad_key() -> Refused {
    refused(Refusal::Malformed, Response::error(Code::BAD_REQUEST, "i= must stand once and not be empty"))
}

/// The body is too long.
pub(crate) fn too_large(limit: usize) -> Refused {
    let response = Response::error(Code::REQUEST_ENTITY_TOO_LARGE, &format!("at most {limit} bytes"));
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    refused(Refusal::TooLarge, response.with_uint(number::SIZE1, limit))
}

/// A body that cannot be used.
pub(crate) fn faulty(fault: &Fault) -> Refused {
    let text = match fault.pointer.as_str() {
        "" => fault.detail.clone(),
        pointer => format!("{pointer}: {}", fault.detail),
    };
    refused(Refusal::Malformed, Response::error(Code::BAD_REQUEST, &text))
}

/// Over a rate.
pub(crate) fn overload(after: Duration) -> Refused {
    refused(Refusal::Overload, later(Code::TOO_MANY_REQUESTS, "too many requests", after))
}

/// The bridge itself could not.
pub(crate) fn unavailable() -> Refused {
    refused(Refusal::Unavailable, later(Code::SERVICE_UNAVAILABLE, "not taken: try again", LATER))
}

fn not_allowed() -> Response {
    Response::error(Code::METHOD_NOT_ALLOWED, "no such method here")
}

/// Come back after that, in whole seconds (RFC 7252 section 5.9.3.4, RFC 8516).
fn later(code: Code, text: &str, after: Duration) -> Response {
    let seconds = u32::try_from(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)));
    Response::error(code, text).with_uint(number::MAX_AGE, seconds.unwrap_or(u32::MAX).max(1))
}

fn refused(refusal: Refusal, response: Response) -> Refused {
    let detail = String::from_utf8_lossy(&response.body).into_owned();
    Refused { refusal, response, detail }
}
