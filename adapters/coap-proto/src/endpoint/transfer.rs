//! Blocks on the client's side (RFC 7959): how far a request body has gone out and a response body has come in. Pure: a
//! message in, what to do next out. Not here: tokens, timers, who asks.

use bytes::Bytes;

use crate::block::Portion;
use crate::{Block, Code, Config, Options, Request, Response, Szx, number};

use super::uploads::preferred;

/// How often a transfer begins again before it is given up.
const MAX_RESTARTS: u32 = 2;

/// Bytes of a Request-Tag.
const REQUEST_TAG: usize = 4;

/// The transfer of one request and its response.
#[derive(Debug)]
pub(crate) struct Transfer {
    request: Request,
    upload: Option<Upload>,
    download: Option<Download>,
    /// Tells this upload, and the answer to it, from others.
    tag: Option<Bytes>,
    restarts: u32,
}

#[derive(Debug)]
struct Upload {
    portion: Portion,
    offset: usize,
    /// Bytes of the portion that is on its way.
    sent: usize,
}

#[derive(Debug)]
struct Download {
    head: Response,
    body: Vec<u8>,
    szx: Szx,
}

/// What comes of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send the next message.
    Send,
    /// This is the whole response.
    Done(Response),
    /// The blocks do not fit together.
    BadBlocks,
    /// The body is longer than it may be.
    TooLong,
}

impl Transfer {
    /// Of a request that goes out in such portions.
    pub(crate) fn new(request: Request, portion: Portion) -> Transfer {
        let upload = (request.body.len() > portion.bytes).then_some(Upload { portion, offset: 0, sent: 0 });
        Transfer { request, upload, download: None, tag: None, restarts: 0 }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The request will carry that option from now on.
    pub(crate) fn set_option(&mut self, number: u16, value: Bytes) {
        self.request.options.set(number, value);
    }

    /// A new state has come: what was fetched of the old one is worthless.
    pub(crate) fn abandon_download(&mut self) {
        self.download = None;
        self.upload = None;
    }

    /// Options and payload of the next message. `plain`: it belongs to an observation that has its own token, so it must not
    /// register again.
    pub(crate) fn message(
        &mut self,
        config: &Config,
        plain: bool,
        random: &mut dyn FnMut() -> u64,
    ) -> (Options, Bytes) {
        let mut options = self.request.options.clone();
        if plain {
            options.remove(number::OBSERVE);
        }
        let tagged = options.has(number::REQUEST_TAG) || !config.blockwise.request_tags;
        if self.upload.is_some() && self.tag.is_none() && !tagged {
            self.tag = Some(Bytes::copy_from_slice(&random().to_be_bytes()[..REQUEST_TAG]));
        }
        if let Some(tag) = &self.tag {
            options.push(number::REQUEST_TAG, tag.clone());
        }
        if let Some(download) = &self.download {
            options.remove(number::OBSERVE);
            // A body has less than 2^20 blocks, or `block` had refused it.
            let next = Block::at(download.body.len(), false, download.szx).map_or(0, Block::value);
            options.set_uint(number::BLOCK2, next);
            return (options, Bytes::new());
        }
        if config.blockwise.size != Szx::MAX && !options.has(number::BLOCK2) {
            options
                .set_uint(number::BLOCK2, Block { num: 0, more: false, szx: config.blockwise.size }.value());
        }
        let body = &self.request.body;
        let Some(upload) = &mut self.upload else { return (options, body.clone()) };
        let end = body.len().min(upload.offset + upload.portion.bytes);
        upload.sent = end - upload.offset;
        let block = Block::at(upload.offset, end < body.len(), upload.portion.szx).map_or(0, Block::value);
        options.set_uint(number::BLOCK1, block);
        if upload.offset == 0 {
            options.set_uint(number::SIZE1, body.len() as u32);
        }
        (options, body.slice(upload.offset..end))
    }

    /// Takes a response to the last message, or a notification.
    pub(crate) fn response(&mut self, config: &Config, response: Response) -> Next {
        let of = config.block_reader();
        let (Ok(block1), Ok(block2)) =
            (of(&response.options, number::BLOCK1), of(&response.options, number::BLOCK2))
        else {
            return Next::BadBlocks;
        };
        if let Some(next) = self.continue_upload(config, &response, block1) {
            return next;
        }
        self.upload = None;
        match block2 {
            Some(block) if !self.is_random_access(config) => self.block(config, response, block),
            _ => {
                self.download = None;
                Next::Done(response)
            }
        }
    }

    fn is_random_access(&self, config: &Config) -> bool {
        config.block_reader()(&self.request.options, number::BLOCK2)
            .is_ok_and(|block| block.is_some_and(|b| b.num > 0))
    }

    fn continue_upload(
        &mut self,
        config: &Config,
        response: &Response,
        block1: Option<Block>,
    ) -> Option<Next> {
        let length = self.request.body.len();
        let smaller = |than: Szx| block1.map(|block| block.szx).filter(|szx| *szx < than);
        if response.code == Code::REQUEST_ENTITY_TOO_LARGE && self.download.is_none() {
            let now = self.upload.as_ref().map_or(config.blockwise.size, |upload| upload.portion.szx);
            let szx = match (&self.upload, block1.map(|block| block.szx)) {
                (None, Some(szx)) if szx <= now && length > szx.bytes() => szx,
                _ => smaller(now)?,
            };
            return self.restart_upload(Portion::one(szx));
        }
        let upload = self.upload.as_mut()?;
        if response.code == Code::REQUEST_ENTITY_INCOMPLETE {
            let portion = upload.portion;
            return self.restart_upload(portion);
        }
        let sent_all = upload.offset + upload.sent >= length;
        if sent_all || !response.code.is_success() {
            return (response.code == Code::CONTINUE).then_some(Next::BadBlocks);
        }
        let Some(block) = block1.filter(|block| block.offset() == upload.offset || block.num == 0) else {
            // An answer before the last block: the server has what it needs.
            return (response.code == Code::CONTINUE).then_some(Next::BadBlocks);
        };
        upload.offset += upload.sent;
        upload.portion = upload.portion.at_most(block.szx);
        Some(Next::Send)
    }

    fn restart_upload(&mut self, portion: Portion) -> Option<Next> {
        self.restarts += 1;
        // Sizes can shrink six times; nothing else is tried that often.
        if self.restarts > MAX_RESTARTS + 6 || self.restarts > MAX_RESTARTS && self.same_size(portion) {
            return None;
        }
        self.upload = Some(Upload { portion, offset: 0, sent: 0 });
        self.tag = None;
        Some(Next::Send)
    }

    fn same_size(&self, portion: Portion) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.portion == portion)
    }

    fn block(&mut self, config: &Config, mut response: Response, block: Block) -> Next {
        let payload = std::mem::take(&mut response.body);
        if !block.holds(payload.len()) {
            return self.fail(Next::BadBlocks);
        }
        let announced = response.options.uint(number::SIZE2).unwrap_or(0) as usize;
        let have = self.download.as_ref().map_or(0, |download| download.body.len());
        if announced.max(have + payload.len()) > config.blockwise.max_body {
            return self.fail(Next::TooLong);
        }
        match &mut self.download {
            None => {
                if block.num != 0 {
                    return Next::BadBlocks;
                }
                response.options.remove(number::BLOCK2);
                if !block.more {
                    return Next::Done(Response { body: payload, ..response });
                }
                let szx = preferred(config, block.szx);
                self.download = Some(Download { head: response, body: payload.to_vec(), szx });
                Next::Send
            }
            Some(download) => {
                let tags = [&download.head, &response].map(|part| part.options.get(number::ETAG));
                if tags[0] != tags[1] || download.head.code != response.code {
                    return self.changed(response, payload);
                }
                if block.offset() != download.body.len() {
                    return self.fail(Next::BadBlocks);
                }
                download.body.extend_from_slice(&payload);
                download.szx = download.szx.min(block.szx);
                if block.more {
                    return Next::Send;
                }
                match self.download.take() {
                    Some(Download { head, body, .. }) => Next::Done(Response { body: body.into(), ..head }),
                    None => Next::BadBlocks,
                }
            }
        }
    }

    /// The representation is another one than before: fetch that from its begin, when asking again does no harm.
    fn changed(&mut self, response: Response, payload: Bytes) -> Next {
        if !response.code.is_success() {
            self.download = None;
            return Next::Done(Response { body: payload, ..response });
        }
        self.restarts += 1;
        if !self.request.code.is_safe() || self.restarts > MAX_RESTARTS {
            return self.fail(Next::BadBlocks);
        }
        let szx = self.download.as_ref().map_or(Szx::MAX, |download| download.szx);
        self.download = None;
        let portion = Portion::one(szx.min(Szx::MAX));
        self.upload =
            (self.request.body.len() > portion.bytes).then_some(Upload { portion, offset: 0, sent: 0 });
        Next::Send
    }

    fn fail(&mut self, next: Next) -> Next {
        self.download = None;
        next
    }
}
