//! A hub that does nothing by itself: it records what it is asked, and the test reports what becomes of it.

use std::sync::{Arc, Mutex};

use crate::message::Message;
use crate::ports::{Hub, LinkId, Token};
use crate::signal::lock;

/// See the module.
#[derive(Debug, Default)]
pub struct FakeHub {
    open: Mutex<Vec<LinkId>>,
    published: Mutex<Vec<Published>>,
}

/// Which link, by which name, what.
pub type Published = (LinkId, Token, Arc<Message>);

impl FakeHub {
    /// The links that are open.
    pub fn open_links(&self) -> Vec<LinkId> {
        lock(&self.open).clone()
    }

    /// Takes what was published since the last call, in order.
    pub fn take(&self) -> Vec<Published> {
        std::mem::take(&mut lock(&self.published))
    }
}

impl Hub for FakeHub {
    fn open(&self, link: LinkId) {
        lock(&self.open).push(link);
    }

    fn publish(&self, link: LinkId, token: Token, message: Arc<Message>) {
        lock(&self.published).push((link, token, message));
    }

    fn close(&self, link: LinkId) {
        lock(&self.open).retain(|open| *open != link);
    }
}
