//! The bridge as one value: opened from a configuration, drained at the end. Every task has an owner here that ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::coap::CoapApi;
use anyhow::Context;
use axum::Router;
use bridge_core::IntegrationName;
use bridge_core::archive::{ArchiveConfig, Archivist};
use bridge_core::dedup::{DedupConfig, Deduplicator};
use bridge_core::delivery::Delivery;
use bridge_core::keyring::Keyring;
use bridge_core::mux::{MuxConfig, Strategy};
use bridge_core::pipeline::{Pipeline, States};
use bridge_core::ports::{Clock, Deliver};
use bridge_core::registrar::Registrar;
use bridge_core::trace::Traces;
use bridge_core::twin::{TwinKeeper, TwinLimits};
use codec::CodecSet;
use edge::Mailbox;
use http_api::{DeviceApi, Formats, Parts};
use mqtt_hub::dialects::{Encoding as HubEncoding, MqttDialect};
use mqtt_hub::{Credentials, HubAddress, HubConfig, MqttHub, Pem, Protocol as HubProtocol, Secret, TlsPem};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use webhook::receiver::{Problem, Receiver, SecretDigest};

use crate::admin::{self, Access, Admin};
use crate::callbacks::Callbacks;
use crate::clock::SystemClock;
use crate::coap;
use crate::codecs::Workshop;
use crate::commands::{Commands, Hearing, HubInbox, MailboxesOf};
use crate::config::{Broker, Config, Durability, Encoding, PemFile, Protocol, Remote};
use crate::device_api::{self, BodyFormats};
use crate::housekeeping::Housekeeping;
use crate::ops::Operations;
use crate::server::Front;
use crate::sources;
use crate::store::{Store, open_store};
use crate::twins::{Courier, Wishes};

/// The running bridge. Serve [`App::router`]; at the end [`App::drain`].
pub struct App {
    front: Front,
    admin: Admin,
    pub(crate) receiver: Receiver,
    pub(crate) device_api: DeviceApi,
    coap: Option<CoapApi>,
    operations: Operations,
    pub(crate) pipeline: Arc<Pipeline>,
    workshop: Workshop,
    codecs: Arc<CodecSet>,
    pub(crate) commands: Commands,
    pub(crate) courier: Courier,
    pub(crate) callbacks: Callbacks,
    pub(crate) inbox: Arc<HubInbox>,
    pub(crate) housekeeping: Housekeeping,
    pub(crate) dialect: MqttDialect,
    /// None in a process that comes and goes.
    resident: Option<Resident>,
    tasks: Vec<JoinHandle<()>>,
    shutdown_wait: std::time::Duration,
}

/// What only a process that stays has.
struct Resident {
    hub: Arc<MqttHub>,
    delivery: Arc<Delivery>,
}

/// What the bridge stands on.
pub(crate) struct Ground {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) access: Access,
    pub(crate) dedup: Arc<Deduplicator>,
    pub(crate) deliver: Arc<dyn Deliver>,
}

impl App {
    /// Opens everything. Nothing is bound but, when configured, the embedded broker.
    ///
    /// # Errors
    /// When the store, the TLS files or the embedded broker cannot be used.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = open_store(config).await?;
        let access = Access::new(Some(operator_token(config)?), &config.admin.tokens);
        if let Broker::Embedded { listen } = &config.hub.broker {
            start_embedded_hub(*listen).await?;
        }
        let hub = Arc::new(mqtt_hub(config, config.hub.client_id.clone())?);

        let dedup = Deduplicator::open(dedup_config(config), store.clone(), clock.clone()).await?;
        let dedup = Arc::new(dedup);
        let late = dedup.clone();
        let delivery = Delivery::open(
            mux_config(config),
            hub.clone(),
            store.clone(),
            store.clone(),
            clock.clone(),
            Box::new(move |id| late.remember(id)),
        )
        .await?;
        let delivery = Arc::new(delivery);
        hub.start(delivery.clone());
        let ground = Ground { clock, store, access, dedup, deliver: delivery.clone() };
        Self::furnish(config, ground, Some(Resident { hub, delivery })).await
    }

    /// The bridge without anything in the background, for a process that may be stopped after every call.
    pub(crate) async fn open_idle(config: &Config, ground: Ground) -> anyhow::Result<Self> {
        Self::furnish(config, ground, None).await
    }

    async fn furnish(config: &Config, ground: Ground, resident: Option<Resident>) -> anyhow::Result<Self> {
        let Ground { clock, store, access, dedup, deliver: delivery } = ground;
        let workshop = Workshop::default();
        let codecs = Arc::new(CodecSet::new(workshop.table(config)?));
        let archive = archive(config, &store, &clock);
        let hearing = Arc::new(Hearing::default());
        let callbacks = Callbacks::new(config, &store, &clock)?;
        let commands = Commands::new(config, &store, &delivery, &codecs, &clock, &callbacks)?;
        hearing.start(commands.clone());
        let twins = Arc::new(TwinKeeper::new(store.clone(), clock.clone(), TwinLimits::default()));
        let courier = Courier::new(config, twins.clone(), commands.clone(), store.clone(), callbacks.clone());
        let pipeline = Arc::new(Pipeline {
            registrar: Registrar::open(store.clone()).await?,
            dedup: dedup.clone(),
            codecs: codecs.clone(),
            delivery: delivery.clone(),
            dead_letters: store.clone(),
            archive: archive.clone(),
            listener: Some(hearing.clone()),
            twins: Some(twins.clone()),
            traces: Arc::new(Traces::new(config.trace.keep)),
            clock: clock.clone(),
            states: States::default(),
        });
        let receiver = Receiver::new(
            pipeline.clone(),
            sources::table(config, None)?,
            sources::contains(&config.http.trusted_proxies),
            config.http.body_timeout,
        );
        let mailboxes = MailboxesOf { commands: commands.clone(), pipeline: pipeline.clone() };
        receiver.serve_mailboxes(Arc::new(mailboxes));
        let keyring = Arc::new(Keyring::open(store.clone()).await?);
        let formats: Arc<dyn Formats> = Arc::new(BodyFormats::new()?);
        let mailbox = Arc::new(Mailbox::new(commands.dispatcher.clone()));
        let coap = coap::api(config, (&pipeline, &keyring, &formats, &mailbox), receiver.tasks())?;
        commands.ways.announced().load().await?;
        receiver.tell_announcements(commands.ways.announced().clone());
        let parts = Parts {
            name: IntegrationName::parse(http_api::INTEGRATION)?,
            pipeline: pipeline.clone(),
            mailbox,
            callbacks: callbacks.for_routes(),
            keyring,
            formats,
            unique: device_api::unique_keys()?,
            tasks: receiver.tasks().clone(),
            body_timeout: config.http.body_timeout,
        };
        let device_api = DeviceApi::new(parts, device_api::settings(config));
        let sources = (receiver.clone(), device_api.clone(), coap.clone());
        let operations = Operations::new(sources, pipeline.clone());
        let router = receiver
            .router()
            .merge(device_api.router())
            .merge(operations.router())
            .fallback(async || Problem::not_found());
        let admin = Admin::new(admin::Parts {
            access,
            receiver: receiver.clone(),
            device_api: device_api.clone(),
            pipeline: pipeline.clone(),
            codecs: codecs.clone(),
            commands: commands.clone(),
            courier: courier.clone(),
            store: store.clone(),
        });
        let housekeeping = Housekeeping {
            pipeline: pipeline.clone(),
            receiver: receiver.clone(),
            device_api: device_api.clone(),
            operations: operations.clone(),
            outbox: store.clone(),
            dead_letters: store.clone(),
            keep_dead_letters: config.dead_letters.keep,
            commands: commands.clone(),
        };
        let inbox = Arc::new(HubInbox {
            commands: commands.clone(),
            wishes: Wishes { twins, registry: store, hub: IntegrationName::parse("hub")? },
            delivery: delivery.clone(),
            clock,
            unknown: IntegrationName::parse("hub")?,
        });
        let mut tasks = Vec::new();
        if let Some(Resident { hub, delivery }) = &resident {
            let (storing, timing) = (delivery.clone(), delivery.clone());
            tasks.extend([
                tokio::spawn(async move { storing.run_store().await }),
                tokio::spawn(async move { timing.run_timer().await }),
                tokio::spawn(async move { dedup.run().await }),
                tokio::spawn(housekeeping.clone().run()),
                tokio::spawn(courier.clone().run()),
                tokio::spawn(callbacks.clone().run(commands.dispatcher.clone(), delivery.clone())),
            ]);
            tasks.extend(start_commands(&commands));
            if config.commands.from_hub {
                hub.receive(inbox.clone());
            }
            if let Some(archive) = archive {
                tasks.push(tokio::spawn(async move { archive.run().await }));
            }
            delivery.start();
        }
        Ok(Self {
            front: Front { sources: Some((receiver.clone(), device_api.clone())), router },
            admin,
            receiver,
            device_api,
            coap,
            operations,
            pipeline,
            workshop,
            codecs,
            commands,
            courier,
            callbacks,
            inbox,
            housekeeping,
            dialect: dialect(config),
            resident,
            tasks,
            shutdown_wait: config.delivery.shutdown_wait,
        })
    }

    /// Everything that the bridge serves to others than operators, as one router.
    pub fn router(&self) -> Router {
        self.front.router.clone()
    }

    /// The same for [`serve`](crate::serve).
    pub fn front(&self) -> Front {
        self.front.clone()
    }

    /// What answers CoAP, for [`serve_coap`](crate::serve_coap), [`serve_coap_dtls`](crate::serve_coap_dtls) and
    /// [`serve_coap_streams`](crate::serve_coap_streams); none when none of them is wanted.
    pub fn coap(&self) -> Option<CoapApi> {
        self.coap.clone()
    }

    /// Everything that a function serves, as one router: operators too, when the configuration has tokens of theirs; without
    /// the live flow, which has no end.
    pub(crate) fn whole_router(&self) -> Router {
        if self.admin.access().is_empty() {
            return self.router();
        }
        self.router().merge(self.admin.router())
    }

    /// What operators are served on a listener of their own, as one router.
    pub fn admin_router(&self) -> Router {
        self.admin
            .router()
            .merge(self.admin.live_router())
            .merge(self.operations.router())
            .fallback(async || Problem::not_found())
    }

    /// The same for [`serve`](crate::serve).
    pub fn admin_front(&self) -> Front {
        Front { sources: None, router: self.admin_router() }
    }

    /// Takes over integrations, gateways, codecs, secrets and limits of another configuration; all else needs a restart.
    ///
    /// # Errors
    /// When an integration cannot be used; nothing has changed then.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let sources = sources::table(config, Some(&self.receiver.table()))?;
        let codecs = self.workshop.table(config)?;
        self.callbacks.replace(config)?;
        self.commands.ways.replace(config)?;
        self.courier.replace(config);
        self.codecs.replace(codecs);
        self.receiver.replace(sources);
        self.device_api.replace(device_api::settings(config));
        if let Some(api) = &self.coap {
            api.replace(coap::settings(config));
        }
        self.admin.access().replace(&config.admin.tokens);
        Ok(())
    }

    /// From now on `/readyz` says no, nobody waits for commands, and the live flow ends.
    pub fn set_closing(&self) {
        self.operations.set_closing();
        self.pipeline.traces.feed().close();
        self.device_api.set_closing();
    }

    /// Brings everything that was accepted to the hub or onto the disk, then ends every task. Call it when no more requests
    /// come in. Takes little more than `delivery.shutdown_wait` at most.
    pub async fn drain(self) {
        if let Some(Resident { hub, delivery }) = &self.resident {
            hub.stop_receiving(self.shutdown_wait).await;
            delivery.drain(self.shutdown_wait).await;
        }
        if tokio::time::timeout(self.shutdown_wait, self.receiver.tasks().idle()).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        if let Err(error) = self.pipeline.dedup.flush().await {
            tracing::warn!(%error, "the last message ids could not be written");
        }
        if let Some(archive) = &self.pipeline.archive
            && let Err(error) = archive.flush().await
        {
            tracing::warn!(%error, "the last payloads could not be archived");
        }
        if let Err(error) = self.pipeline.registrar.flush().await {
            tracing::warn!(%error, "when devices were last heard could not be written");
        }
        if let Some(Resident { hub, .. }) = &self.resident {
            hub.shutdown(self.shutdown_wait).await;
        }
        for task in self.tasks {
            task.abort();
            // Aborted, or ended before: both is the end.
            let _ = task.await;
        }
    }
}

/// The tasks of commands. Whatever was being sent when the process ended is found by `recover`, and nothing else is sent
/// before: what this process sends must not be taken for it.
fn start_commands(commands: &Commands) -> [JoinHandle<()>; 3] {
    let [recovering, sending, telling] = [(); 3].map(|()| commands.dispatcher.clone());
    let (recovered, is_recovered) = tokio::sync::oneshot::channel();
    [
        tokio::spawn(async move {
            while let Err(error) = recovering.recover().await {
                tracing::warn!(%error, "commands under way cannot be looked at; it is tried again");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            // The sender is gone when the process ends.
            let _ = recovered.send(());
            recovering.run_timer().await;
        }),
        tokio::spawn(async move {
            if is_recovered.await.is_ok() {
                sending.run_sender().await;
            }
        }),
        tokio::spawn(async move { telling.run_announcer().await }),
    ]
}

/// What keeps payloads, when they are to be kept.
fn archive(config: &Config, store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> Option<Arc<Archivist>> {
    let limits = ArchiveConfig { keep: config.archive.keep, most: config.archive.max_messages };
    (!limits.keep.is_zero()).then(|| Arc::new(Archivist::new(limits, store.clone(), clock.clone())))
}

/// Where the service keeps the token of the command line for `/admin/v1`.
pub fn operator_token_path(config: &Config) -> PathBuf {
    config.bridge.data_dir.join("operator.token")
}

/// A token for operators on this machine: made anew at each start, readable by the service's user alone.
fn operator_token(config: &Config) -> anyhow::Result<SecretDigest> {
    let token = crate::config::fresh_secret().context("no random bytes")?;
    let path = operator_token_path(config);
    write_private(&path, token.expose().as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(SecretDigest::of(token.expose().as_bytes()))
}

/// Writes a file that the service's user alone can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // One that was there keeps the rights that it had.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::io::Write::write_all(&mut file, bytes)
}

#[cfg(feature = "embedded-hub")]
async fn start_embedded_hub(listen: std::net::SocketAddr) -> anyhow::Result<()> {
    crate::embedded_hub::start(listen).await
}

#[cfg(not(feature = "embedded-hub"))]
async fn start_embedded_hub(_listen: std::net::SocketAddr) -> anyhow::Result<()> {
    anyhow::bail!("this build has no embedded broker (feature embedded-hub): set hub.url")
}

/// The connections to the hub, with client ids that begin like this; nothing is opened yet.
///
/// # Errors
/// When the TLS files cannot be used.
pub fn mqtt_hub(config: &Config, client_id: String) -> anyhow::Result<MqttHub> {
    let hub = HubConfig { client_id, ..hub_config(config) };
    Ok(MqttHub::new(hub, Arc::new(dialect(config)), Arc::new(SystemClock), Handle::current())?)
}

fn dialect(config: &Config) -> MqttDialect {
    MqttDialect {
        bridge: config.bridge.name.clone(),
        prefix: config.hub.topic_prefix.clone(),
        encoding: match config.hub.encoding {
            Encoding::Json => HubEncoding::Json,
            Encoding::Flat => HubEncoding::Flat,
            Encoding::Senml => HubEncoding::Senml,
        },
    }
}

pub(crate) fn dedup_config(config: &Config) -> DedupConfig {
    DedupConfig { window: config.dedup.window, max_in_memory: config.dedup.max_in_memory }
}

fn mux_config(config: &Config) -> MuxConfig {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let connections = &config.hub.connections;
    MuxConfig {
        strategy: Strategy::Shared { min: count(connections.min), max: count(connections.max) },
        ack_wait: config.delivery.ack_wait,
        disk_first: config.delivery.durability == Durability::DiskFirst,
        max_waiting: config.delivery.max_waiting,
        max_stored: config.delivery.outbox.max_messages,
        drain_rate: config.delivery.drain_rate,
    }
}

fn hub_config(config: &Config) -> HubConfig {
    let hub = &config.hub;
    let local = |listen: &std::net::SocketAddr| {
        let ip =
            if listen.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
        HubAddress { host: ip.to_string(), port: listen.port(), tls: false }
    };
    let (address, remote) = match &hub.broker {
        Broker::Embedded { listen } => (local(listen), None),
        Broker::Remote(remote) => (
            HubAddress { host: remote.host.clone(), port: remote.port, tls: remote.tls.is_some() },
            Some(remote),
        ),
    };
    let credentials = remote.and_then(|remote| remote.credentials.as_ref()).map(|credentials| Credentials {
        user: credentials.user.clone(),
        password: Secret::new(credentials.password.as_ref().map_or("", crate::config::Secret::expose)),
    });
    HubConfig {
        address,
        protocol: match (&hub.broker, hub.protocol) {
            // The embedded broker speaks 3.1.1 on its port.
            (Broker::Embedded { .. }, _) | (_, Protocol::V311) => HubProtocol::V311,
            (Broker::Remote(_), Protocol::V5) => HubProtocol::V5,
        },
        client_id: hub.client_id.clone(),
        credentials,
        tls: remote.map(tls).unwrap_or_default(),
        window: hub.window,
        keep_alive: hub.keep_alive,
        connect_timeout: hub.connect_timeout,
        max_packet: u32::try_from(hub.max_packet).unwrap_or(u32::MAX),
    }
}

fn tls(remote: &Remote) -> TlsPem {
    let pem = |file: &PemFile| Pem { origin: file.path.clone(), text: Secret::new(file.pem.expose()) };
    let Some(tls) = &remote.tls else { return TlsPem::default() };
    TlsPem {
        authorities: tls.ca.as_ref().map(pem),
        client: tls.client.as_ref().map(|client| (pem(&client.certificate), pem(&client.key))),
    }
}
