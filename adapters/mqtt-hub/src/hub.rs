//! The hub port over MQTT: a task per link, and the way of a publish to it. Not here: a link's life ([`crate::link`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bridge_core::Message;
use bridge_core::hash::QuickHash;
use bridge_core::ports::{Clock, Hub, HubEvents, Inbox, LinkId, Token};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::HubConfig;
use crate::dialect::Dialect;
use crate::link::{Link, LinkTask};
use crate::subscriber;
use crate::tls::{self, TlsError};

/// Carries out what the mux decides, over MQTT. Made, then [`start`](Self::start)ed with where its events go: the two refer
/// to each other.
pub struct MqttHub {
    shared: Arc<Shared>,
    runtime: Handle,
    links: Mutex<Links>,
    subscriber: Mutex<Option<(Arc<Notify>, JoinHandle<()>)>>,
}

/// The links and their tasks.
type Links = HashMap<LinkId, (Arc<Link>, JoinHandle<()>), QuickHash>;

pub(crate) struct Shared {
    pub(crate) config: HubConfig,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) dialect: Arc<dyn Dialect>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: OnceLock<Arc<dyn HubEvents>>,
}

impl MqttHub {
    /// A hub whose tasks run on `runtime`.
    ///
    /// # Errors
    /// When the TLS files cannot be used.
    pub fn new(
        config: HubConfig,
        dialect: Arc<dyn Dialect>,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Result<Self, TlsError> {
        let tls = if config.address.tls { Some(tls::client_config(&config.tls)?) } else { None };
        let shared = Shared { config, tls, dialect, clock, events: OnceLock::new() };
        Ok(Self { shared: Arc::new(shared), runtime, links: Mutex::default(), subscriber: Mutex::default() })
    }

    /// Says where events go. Before the first [`Hub::open`]; a second call changes nothing.
    pub fn start(&self, events: Arc<dyn HubEvents>) {
        let _ = self.shared.events.set(events);
    }

    /// Subscribes to what the hub wants of devices, and keeps subscribed until [`shutdown`](Self::shutdown).
    pub fn receive(&self, inbox: Arc<dyn Inbox>) {
        let closing = Arc::new(Notify::new());
        let task = self.runtime.spawn(subscriber::run(self.shared.clone(), inbox, closing.clone()));
        let before = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner).replace((closing, task));
        if let Some((_, task)) = before {
            task.abort();
        }
    }

    /// Stops taking what the hub wants of devices; what is not acknowledged comes again after the next start.
    pub async fn stop_receiving(&self, wait: Duration) {
        let subscriber = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((closing, mut task)) = subscriber else { return };
        closing.notify_one();
        if tokio::time::timeout(wait, &mut task).await.is_err() {
            task.abort();
        }
    }

    /// Closes every link in good order and waits for the end of all, at most `wait`.
    pub async fn shutdown(&self, wait: Duration) {
        let links: Vec<_> = self.links().drain().map(|(_, link)| link).collect();
        for (link, _) in &links {
            link.close();
        }
        let all = async {
            for (_, task) in links {
                // A task that panicked has ended too.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(wait, all).await.is_err() {
            tracing::warn!("some connections to the hub did not close in time");
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub for MqttHub {
    fn open(&self, id: LinkId) {
        let link = Arc::new(Link::new(id));
        let task = LinkTask::new(link.clone(), self.shared.clone());
        let handle = self.runtime.spawn(task.run());
        if let Some((old, _)) = self.links().insert(id, (link, handle)) {
            old.close();
        }
    }

    fn publish(&self, link: LinkId, token: Token, message: Arc<Message>) {
        if let Some((link, _)) = self.links().get(&link) {
            link.publish(token, message);
        }
    }

    fn close(&self, link: LinkId) {
        if let Some((link, _)) = self.links().remove(&link) {
            link.close();
        }
    }
}
