//! Requests and responses as the application sees them: code, options and a whole body, and what the options say. Not
//! here: messages, blocks, exchanges.

use bytes::Bytes;

use crate::registry::number;
use crate::{Code, Options};

/// A request with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub code: Code,
    /// Whether it goes in confirmable messages.
    pub confirmable: bool,
    /// The options, without those of blocks.
    pub options: Options,
    /// The body.
    pub body: Bytes,
}

/// A response with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The code, of class 2, 4 or 5.
    pub code: Code,
    /// The options, without those of blocks.
    pub options: Options,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A confirmable request for a path and query such as `/a/b?x=1`; the text is taken as it is, without escapes.
    pub fn new(code: Code, uri: &str) -> Request {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut options = Options::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            options.push(number::URI_PATH, segment.to_owned());
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            options.push(number::URI_QUERY, part.to_owned());
        }
        Request { code, confirmable: true, options, body: Bytes::new() }
    }

    /// The same, with a body and its content format.
    pub fn with_body(mut self, format: u16, body: impl Into<Bytes>) -> Request {
        self.options.set_uint(number::CONTENT_FORMAT, format.into());
        self.body = body.into();
        self
    }

    /// The same, with one more option.
    pub fn with(mut self, number: u16, value: impl Into<Bytes>) -> Request {
        self.options.push(number, value);
        self
    }

    /// The same, with one more option that is a number.
    pub fn with_uint(mut self, number: u16, value: u32) -> Request {
        self.options.push_uint(number, value);
        self
    }

    /// The same in a non-confirmable message.
    pub fn non_confirmable(mut self) -> Request {
        self.confirmable = false;
        self
    }

    /// The same as the begin of an observation (RFC 7641 section 2).
    pub fn observe(self) -> Request {
        self.with_uint(number::OBSERVE, 0)
    }

    /// The segments of the path. An endpoint hands on only requests whose path is UTF-8.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        texts(&self.options, number::URI_PATH)
    }

    /// The parts of the query, such as `x=1`.
    pub fn query(&self) -> impl Iterator<Item = &str> {
        texts(&self.options, number::URI_QUERY)
    }

    /// The content format of the body.
    pub fn content_format(&self) -> Option<u16> {
        short(&self.options, number::CONTENT_FORMAT)
    }

    /// The content format that the client wants.
    pub fn accept(&self) -> Option<u16> {
        short(&self.options, number::ACCEPT)
    }

    /// The entity tags that the client holds.
    pub fn etags(&self) -> impl Iterator<Item = &[u8]> {
        self.options.all(number::ETAG).map(AsRef::as_ref)
    }

    /// The first of the formats on offer that the client accepts.
    ///
    /// # Errors
    /// 4.06 when it accepts none of them (RFC 7252 section 5.10.4).
    pub fn negotiate(&self, offered: &[u16]) -> Result<Option<u16>, Response> {
        match self.accept() {
            None => Ok(offered.first().copied()),
            Some(wanted) if offered.contains(&wanted) => Ok(Some(wanted)),
            Some(_) => Err(Response::error(Code::NOT_ACCEPTABLE, "no such representation")),
        }
    }

    /// The content format of the body, which must be one of those.
    ///
    /// # Errors
    /// 4.15 when it is another or not given (RFC 7252 section 5.10.3).
    pub fn require_format(&self, taken: &[u16]) -> Result<u16, Response> {
        self.content_format()
            .filter(|format| taken.contains(format))
            .ok_or_else(|| Response::error(Code::UNSUPPORTED_CONTENT_FORMAT, "content format not supported"))
    }

    /// Whether If-Match and If-None-Match hold for a resource with that entity tag; `None` when it does not exist.
    ///
    /// # Errors
    /// 4.12 when they do not (RFC 7252 section 5.10.8).
    pub fn preconditions(&self, current: Option<&[u8]>) -> Result<(), Response> {
        let mut wanted = self.options.all(number::IF_MATCH).peekable();
        let matches = wanted.peek().is_none()
            || current.is_some_and(|current| wanted.any(|tag| tag.is_empty() || tag == current));
        if matches && !(self.options.has(number::IF_NONE_MATCH) && current.is_some()) {
            return Ok(());
        }
        Err(Response::error(Code::PRECONDITION_FAILED, "the resource is not in the state that was named"))
    }
}

impl Response {
    /// A response without a body.
    pub fn new(code: Code) -> Response {
        Response { code, options: Options::new(), body: Bytes::new() }
    }

    /// 2.05 with a body.
    pub fn content(format: u16, body: impl Into<Bytes>) -> Response {
        Response::new(Code::CONTENT).with_uint(number::CONTENT_FORMAT, format.into()).with_body(body)
    }

    /// An error with a diagnostic payload: short text for a human, without a content format (RFC 7252 section 5.5.2).
    pub fn error(code: Code, diagnostic: &str) -> Response {
        Response::new(code).with_body(diagnostic.to_owned())
    }

    /// 5.03: come back after this many seconds (RFC 7252 section 5.9.3.4).
    pub fn unavailable(seconds: u32) -> Response {
        Response::new(Code::SERVICE_UNAVAILABLE).with_uint(number::MAX_AGE, seconds)
    }

    /// 4.29: too many requests, come back after this many seconds (RFC 8516).
    pub fn too_many(seconds: u32) -> Response {
        Response::new(Code::TOO_MANY_REQUESTS).with_uint(number::MAX_AGE, seconds)
    }

    /// The same with that body.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Response {
        self.body = body.into();
        self
    }

    /// The same, with one more option.
    pub fn with(mut self, number: u16, value: impl Into<Bytes>) -> Response {
        self.options.push(number, value);
        self
    }

    /// The same, with one more option that is a number.
    pub fn with_uint(mut self, number: u16, value: u32) -> Response {
        self.options.push_uint(number, value);
        self
    }

    /// The same with that entity tag, 1 to 8 bytes.
    pub fn with_etag(mut self, tag: impl Into<Bytes>) -> Response {
        self.options.set(number::ETAG, tag);
        self
    }

    /// The content format of the body.
    pub fn content_format(&self) -> Option<u16> {
        short(&self.options, number::CONTENT_FORMAT)
    }

    /// How long the response is fresh, in seconds; 60 when it does not say.
    pub fn max_age(&self) -> u32 {
        self.options.uint(number::MAX_AGE).unwrap_or(60)
    }
}

fn short(options: &Options, number: u16) -> Option<u16> {
    u16::try_from(options.uint(number)?).ok()
}

fn texts(options: &Options, number: u16) -> impl Iterator<Item = &str> {
    options.all(number).filter_map(|value| std::str::from_utf8(value).ok())
}
