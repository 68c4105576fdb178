//! What a connection says about itself (RFC 8323 section 5): settings, ping and pong, release, abort. Not here: when
//! ([`super::link`]).

use bytes::Bytes;

use crate::options::uint;
use crate::{Code, Message, Options, Token, is_critical};

/// 7.01, Capabilities and Settings.
pub const CSM: Code = Code::new(7, 1);
/// 7.02.
pub const PING: Code = Code::new(7, 2);
/// 7.03.
pub const PONG: Code = Code::new(7, 3);
/// 7.04: no more requests; those under way get their answers.
pub const RELEASE: Code = Code::new(7, 4);
/// 7.05: nothing more, at once.
pub const ABORT: Code = Code::new(7, 5);

const MAX_MESSAGE_SIZE: u16 = 2;
const BLOCK_WISE_TRANSFER: u16 = 4;
const CUSTODY: u16 = 2;
const BAD_CSM_OPTION: u16 = 2;

/// What a connection says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// What its sender takes. What it does not name stays as it was.
    Settings {
        /// The longest message, bytes.
        max_message: Option<u32>,
        /// Whether it knows transfers in blocks.
        blockwise: bool,
    },
    /// Is anybody there?
    Ping {
        /// To be repeated.
        token: Token,
        /// Whether it wants to know that everything before it has been dealt with.
        custody: bool,
    },
    /// Somebody is.
    Pong,
    /// It wants to end.
    Release,
    /// It has ended.
    Abort,
}

/// Why a signal is none that can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// This critical option of its settings.
    Setting(u16),
    /// Its code, or another critical option.
    Other,
}

impl Signal {
    /// What a message of class 7 says. Elective options that are not known are ignored.
    ///
    /// # Errors
    /// When it says something that must be understood, and is not.
    pub fn of(message: &Message) -> Result<Signal, Unknown> {
        let Message { code, options, .. } = message;
        let critical = options.iter().map(|(number, _)| number).find(|number| is_critical(*number));
        match (*code, critical) {
            (CSM, Some(number)) => Err(Unknown::Setting(number)),
            (CSM, None) => {
                let max_message = options.get(MAX_MESSAGE_SIZE).and_then(|value| uint(value));
                Ok(Signal::Settings { max_message, blockwise: options.has(BLOCK_WISE_TRANSFER) })
            }
            (ABORT, _) => Ok(Signal::Abort),
            (_, Some(_)) => Err(Unknown::Other),
            (PING, None) => Ok(Signal::Ping { token: message.token.clone(), custody: options.has(CUSTODY) }),
            (PONG, None) => Ok(Signal::Pong),
            (RELEASE, None) => Ok(Signal::Release),
            _ => Err(Unknown::Other),
        }
    }
}

/// Our settings: the longest message that we take, bytes, and that we know transfers in blocks, BERT when it is over 1152
/// (section 6).
pub fn settings(max_message: u32) -> Message {
    let mut options = Options::new();
    options.set_uint(MAX_MESSAGE_SIZE, max_message);
    options.push(BLOCK_WISE_TRANSFER, Bytes::new());
    signal(CSM, Token::default(), options, "")
}

/// A ping of that token.
pub fn ping(token: Token) -> Message {
    signal(PING, token, Options::new(), "")
}

/// The answer to a ping of that token; with custody when everything before it has been dealt with.
pub fn pong(token: Token, custody: bool) -> Message {
    let mut options = Options::new();
    if custody {
        options.push(CUSTODY, Bytes::new());
    }
    signal(PONG, token, options, "")
}

/// We want to end.
pub fn release() -> Message {
    signal(RELEASE, Token::default(), Options::new(), "")
}

/// We have ended, and why; with the option of the peer's settings that was not understood.
pub fn abort(why: &'static str, bad_setting: Option<u16>) -> Message {
    let mut options = Options::new();
    if let Some(number) = bad_setting {
        options.set_uint(BAD_CSM_OPTION, number.into());
    }
    signal(ABORT, Token::default(), options, why)
}

fn signal(code: Code, token: Token, options: Options, why: &'static str) -> Message {
    Message::streamed(code, token, options, Bytes::from_static(why.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_they_are_written() {
        let token = Token::new(b"ping");
        let of = |message: Message| {
            let frame = message.encode_stream();
            Signal::of(&Message::decode_stream(&frame, 8).unwrap()).unwrap()
        };
        assert_eq!(of(settings(70_000)), Signal::Settings { max_message: Some(70_000), blockwise: true });
        assert_eq!(of(ping(token.clone())), Signal::Ping { token: token.clone(), custody: false });
        assert_eq!((of(pong(token, true)), of(release())), (Signal::Pong, Signal::Release));
        assert_eq!(of(abort("why", Some(7))), Signal::Abort);
        assert_eq!(pong(Token::default(), true).options.len(), 1);
        assert_eq!(pong(Token::default(), false).options.len(), 0);
    }

    #[test]
    fn what_must_be_understood_is_not_ignored() {
        let with = |code, number: u16| {
            Signal::of(&Message::streamed(
                code,
                Token::default(),
                [(number, "")].into_iter().collect(),
                Bytes::new(),
            ))
        };
        assert_eq!(with(CSM, 9), Err(Unknown::Setting(9)));
        assert_eq!(with(CSM, 10), Ok(Signal::Settings { max_message: None, blockwise: false }));
        assert_eq!(with(CSM, 4), Ok(Signal::Settings { max_message: None, blockwise: true }));
        assert_eq!(with(PING, 9), Err(Unknown::Other));
        assert_eq!(with(RELEASE, 4), Ok(Signal::Release));
        assert_eq!(with(Code::new(7, 6), 2), Err(Unknown::Other));
        assert_eq!(with(ABORT, 9), Ok(Signal::Abort));
    }
}
