//! Codes of messages: method, response or empty (RFC 7252 section 3 and 12.1). Not here: what a code makes an endpoint do.

use std::fmt;

/// A code `c.dd`: three bits of class, five of detail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u8);

impl Code {
    /// 0.00, a message without request or response.
    pub const EMPTY: Code = Code::new(0, 0);
    /// 0.01 (RFC 7252 section 5.8.1).
    pub const GET: Code = Code::new(0, 1);
    /// 0.02 (RFC 7252 section 5.8.2).
    pub const POST: Code = Code::new(0, 2);
    /// 0.03 (RFC 7252 section 5.8.3).
    pub const PUT: Code = Code::new(0, 3);
    /// 0.04 (RFC 7252 section 5.8.4).
    pub const DELETE: Code = Code::new(0, 4);
    /// 0.05 (RFC 8132 section 2).
    pub const FETCH: Code = Code::new(0, 5);
    /// 0.06 (RFC 8132 section 3).
    pub const PATCH: Code = Code::new(0, 6);
    /// 0.07, an idempotent PATCH (RFC 8132 section 3).
    pub const IPATCH: Code = Code::new(0, 7);
    /// 2.01 (RFC 7252 section 5.9.1).
    pub const CREATED: Code = Code::new(2, 1);
    /// 2.02.
    pub const DELETED: Code = Code::new(2, 2);
    /// 2.03, the representation that the client holds is still good.
    pub const VALID: Code = Code::new(2, 3);
    /// 2.04.
    pub const CHANGED: Code = Code::new(2, 4);
    /// 2.05.
    pub const CONTENT: Code = Code::new(2, 5);
    /// 2.31, the next block please (RFC 7959 section 2.9.1).
    pub const CONTINUE: Code = Code::new(2, 31);
    /// 4.00.
    pub const BAD_REQUEST: Code = Code::new(4, 0);
    /// 4.01.
    pub const UNAUTHORIZED: Code = Code::new(4, 1);
    /// 4.02, a critical option was not understood.
    pub const BAD_OPTION: Code = Code::new(4, 2);
    /// 4.03.
    pub const FORBIDDEN: Code = Code::new(4, 3);
    /// 4.04.
    pub const NOT_FOUND: Code = Code::new(4, 4);
    /// 4.05.
    pub const METHOD_NOT_ALLOWED: Code = Code::new(4, 5);
    /// 4.06, no representation in the format of `Accept`.
    pub const NOT_ACCEPTABLE: Code = Code::new(4, 6);
    /// 4.08, blocks are missing (RFC 7959 section 2.9.2).
    pub const REQUEST_ENTITY_INCOMPLETE: Code = Code::new(4, 8);
    /// 4.09 (RFC 8132 section 3.4).
    pub const CONFLICT: Code = Code::new(4, 9);
    /// 4.12, an If-Match or If-None-Match did not hold.
    pub const PRECONDITION_FAILED: Code = Code::new(4, 12);
    /// 4.13.
    pub const REQUEST_ENTITY_TOO_LARGE: Code = Code::new(4, 13);
    /// 4.15.
    pub const UNSUPPORTED_CONTENT_FORMAT: Code = Code::new(4, 15);
    /// 4.22 (RFC 8132 section 3.4).
    pub const UNPROCESSABLE_ENTITY: Code = Code::new(4, 22);
    /// 4.29, too many requests (RFC 8516).
    pub const TOO_MANY_REQUESTS: Code = Code::new(4, 29);
    /// 5.00.
    pub const INTERNAL_SERVER_ERROR: Code = Code::new(5, 0);
    /// 5.01.
    pub const NOT_IMPLEMENTED: Code = Code::new(5, 1);
    /// 5.03, try again after Max-Age.
    pub const SERVICE_UNAVAILABLE: Code = Code::new(5, 3);
    /// 5.05.
    pub const PROXYING_NOT_SUPPORTED: Code = Code::new(5, 5);

    /// The code `class.detail`; what does not fit into 3 and 5 bits is cut off.
    pub const fn new(class: u8, detail: u8) -> Code {
        Code((class & 0x07) << 5 | detail & 0x1f)
    }

    /// The digit before the point.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The number behind the point.
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// Whether this is a method, known or not.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether this is a response of a class that exists: 2, 4 or 5.
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Whether this is 2.xx.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// Whether the method may be repeated without an effect: GET and FETCH.
    pub const fn is_safe(self) -> bool {
        matches!(self, Code::GET | Code::FETCH)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
