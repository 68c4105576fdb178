//! Bodies that arrive in blocks (RFC 7959 section 2.5): strictly in order, bounded in count, per peer, in bytes and time.
//! Not here: answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use bytes::Bytes;

use crate::timers::{TimerKey, Timers};
use crate::{Block, Config, Szx};

use super::core::Task;

/// Which transfer a block belongs to: the peer, and method and options as a cache key (Request-Tag included).
pub(crate) type Key<P> = (P, Bytes);

#[derive(Debug)]
struct Upload<P> {
    key: Key<P>,
    format: Option<u16>,
    body: Vec<u8>,
    touched: Instant,
    timer: Option<TimerKey>,
}

/// What a block does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More are missing.
    Continue,
    /// This is the whole body.
    Complete(Bytes),
    /// A block before this one is missing, or the format changed: 4.08.
    Incomplete,
    /// The body is longer than it may be: 4.13.
    TooLarge,
    /// There is no room: 5.03.
    Full,
    /// A block that is not as long as its size says: 4.00.
    Bad,
}

#[derive(Debug)]
pub(crate) struct Uploads<P> {
    by_key: HashMap<Key<P>, u64>,
    uploads: HashMap<u64, Upload<P>>,
    by_peer: HashMap<P, Vec<u64>>,
    bytes: usize,
    next: u64,
    pub(crate) lost: u64,
}

impl<P: Clone + Eq + Hash> Uploads<P> {
    pub(crate) fn new() -> Self {
        Uploads {
            by_key: HashMap::new(),
            uploads: HashMap::new(),
            by_peer: HashMap::new(),
            bytes: 0,
            next: 0,
            lost: 0,
        }
    }

    /// Takes a block.
    pub(crate) fn block(
        &mut self,
        now: Instant,
        (config, timers): (&Config, &mut Timers<Task<P>>),
        key: &Key<P>,
        (block, payload): (Block, &Bytes),
        (format, announced): (Option<u16>, Option<u32>),
    ) -> Step {
        if !block.holds(payload.len()) {
            return Step::Bad;
        }
        let known = self.by_key.get(key).copied();
        if block.num == 0 {
            if let Some(name) = known {
                self.drop_upload(timers, name);
            }
            let long = announced.is_some_and(|size| size as usize > config.blockwise.max_body);
            if long || payload.len() > config.blockwise.max_body {
                return Step::TooLarge;
            }
            if !block.more {
                return Step::Complete(payload.clone());
            }
            return self.begin(now, config, timers, key, (payload, format));
        }
        let Some((name, upload)) = known.and_then(|name| Some((name, self.uploads.get_mut(&name)?))) else {
            return Step::Incomplete;
        };
        let end = block.offset() + payload.len();
        if upload.format == format && end <= upload.body.len() && block.more {
            // A block that came before, under another message id.
            let same = upload.body[block.offset()..end] == payload[..];
            return if same { Step::Continue } else { self.fail(timers, name, Step::Incomplete) };
        }
        if upload.format != format || block.offset() != upload.body.len() {
            return self.fail(timers, name, Step::Incomplete);
        }
        if end > config.blockwise.max_body {
            return self.fail(timers, name, Step::TooLarge);
        }
        if self.bytes + payload.len() > config.limits.upload_bytes {
            return self.fail(timers, name, Step::Full);
        }
        upload.body.extend_from_slice(payload);
        self.bytes += payload.len();
        if !block.more {
            return self.remove(timers, name).map_or(Step::Incomplete, |body| Step::Complete(body.into()));
        }
        upload.touched = now;
        timers.cancel(upload.timer);
        upload.timer = Some(timers.schedule(now + config.blockwise.lifetime, Task::DropUpload(name)));
        Step::Continue
    }

    /// Forgets a transfer that did not come to its end.
    pub(crate) fn drop_upload(&mut self, timers: &mut Timers<Task<P>>, name: u64) {
        if self.remove(timers, name).is_some() {
            self.lost += 1;
        }
    }

    pub(crate) fn forget_peer(&mut self, timers: &mut Timers<Task<P>>, peer: &P) {
        for name in self.by_peer.get(peer).cloned().unwrap_or_default() {
            self.drop_upload(timers, name);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.uploads.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn begin(
        &mut self,
        now: Instant,
        config: &Config,
        timers: &mut Timers<Task<P>>,
        key: &Key<P>,
        (payload, format): (&Bytes, Option<u16>),
    ) -> Step {
        let limits = &config.limits;
        while let Some(own) = self.by_peer.get(&key.0).filter(|own| own.len() >= limits.uploads_per_peer) {
            let Some(&oldest) = own.first() else { break };
            self.drop_upload(timers, oldest);
        }
        // A first block of several (BERT) may need the room of many.
        while self.uploads.len() >= limits.uploads || self.bytes + payload.len() > limits.upload_bytes {
            let oldest = self.uploads.iter().min_by_key(|(name, upload)| (upload.touched, **name));
            match oldest.map(|(name, upload)| (*name, upload.touched + config.blockwise.evict_after)) {
                Some((name, at)) if at <= now => self.drop_upload(timers, name),
                _ => return Step::Full,
            }
        }
        self.next += 1;
        let name = self.next;
        let timer = Some(timers.schedule(now + config.blockwise.lifetime, Task::DropUpload(name)));
        let upload = Upload { key: key.clone(), format, body: payload.to_vec(), touched: now, timer };
        self.bytes += payload.len();
        self.by_key.insert(key.clone(), name);
        self.by_peer.entry(key.0.clone()).or_default().push(name);
        self.uploads.insert(name, upload);
        Step::Continue
    }

    fn fail(&mut self, timers: &mut Timers<Task<P>>, name: u64, step: Step) -> Step {
        self.drop_upload(timers, name);
        step
    }

    fn remove(&mut self, timers: &mut Timers<Task<P>>, name: u64) -> Option<Vec<u8>> {
        let upload = self.uploads.remove(&name)?;
        timers.cancel(upload.timer);
        self.bytes -= upload.body.len();
        self.by_key.remove(&upload.key);
        let peer = &upload.key.0;
        if let Some(own) = self.by_peer.get_mut(peer) {
            own.retain(|other| *other != name);
            if own.is_empty() {
                self.by_peer.remove(peer);
            }
        }
        Some(upload.body)
    }
}

/// The block size that the answer to a block asks for.
pub(crate) fn preferred(config: &Config, asked: Szx) -> Szx {
    match config.blockwise.size {
        // Whoever sends that may: it was refused on datagrams.
        Szx::MAX => asked,
        size => asked.min(size),
    }
}
