//! `device-bridge serve`: listener, signals, drain. Not here: routes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use app::config::{Coap, Config};
use app::{App, Closing, CoapFraming, ServerLimits};
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::start;

/// Runs until SIGTERM or SIGINT; drains within twice `delivery.shutdown_wait` or little more.
pub(crate) async fn run(config: Config, file: Option<&Path>) -> anyhow::Result<()> {
    start::log(&config)?;
    let mut stop = Stop::new()?;
    let running = Running::start(&config).await?;
    let path = start::path(file);
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            name = stop.asked() => {
                tracing::info!(signal = name, "draining");
                break;
            }
            _ = hangup.recv() => reload(&running.app, path.as_ref()),
        }
    }
    running.stop().await;
    tracing::info!("stopped");
    Ok(())
}

fn reload(app: &App, path: Option<&PathBuf>) {
    let result = match start::load(path.map(PathBuf::as_path)) {
        Ok(Ok(config)) => app.reload(&config),
        Ok(Err(_)) => Err(anyhow::anyhow!("the configuration has mistakes, listed above")),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => tracing::info!("integrations, secrets and limits were read again"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "nothing was reloaded"),
    }
}

/// A bridge that serves.
pub(crate) struct Running {
    pub(crate) app: App,
    /// Where it listens for everybody but operators.
    pub(crate) address: SocketAddr,
    shutdown: watch::Sender<bool>,
    servers: [tokio::task::JoinHandle<()>; 2],
    coap: Vec<tokio::task::JoinHandle<()>>,
}

/// Connections of operators at once; more wait.
const OPERATORS: usize = 256;

impl Running {
    /// Opens the bridge, then binds, then serves.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let app = App::open(config).await?;
        // Whoever sees the other one answer can count on this one.
        let (admin_listener, admin) = bind(config.admin.listen).await?;
        let (listener, address) = bind(config.http.listen).await?;
        let (shutdown, closing) = watch::channel(false);
        let coap = start_coap(config, &app, &closing).await?;
        let limits = ServerLimits {
            max_connections: config.http.max_connections,
            header_timeout: config.http.header_timeout,
        };
        let admin_limits = ServerLimits { max_connections: OPERATORS, ..limits };
        let grace = config.delivery.shutdown_wait;
        let servers = [
            tokio::spawn(app::serve(listener, app.front(), limits, closing.clone(), grace)),
            tokio::spawn(app::serve(admin_listener, app.admin_front(), admin_limits, closing, grace)),
        ];
        let ms = begun.elapsed().as_millis() as u64;
        tracing::info!(%address, %admin, integrations = config.integrations.len(), started_ms = ms, "ready");
        Ok(Self { app, address, shutdown, servers, coap })
    }

    /// Lets requests end, then drains.
    pub(crate) async fn stop(self) {
        self.app.set_closing();
        self.shutdown.send_replace(true);
        for server in self.servers {
            if let Err(error) = server.await {
                tracing::error!(%error, "the server failed");
            }
        }
        for coap in self.coap {
            if let Err(error) = coap.await {
                tracing::error!(%error, "the CoAP server failed");
            }
        }
        self.app.drain().await;
    }
}

/// Over UDP, DTLS, TCP, TLS and WebSocket: each of them, or none.
async fn start_coap(
    config: &Config,
    app: &App,
    closing: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let Some(api) = app.coap() else { return Ok(Vec::new()) };
    let closing = || Closing { begins: closing.clone(), grace: config.delivery.shutdown_wait };
    let mut servers = Vec::new();
    if config.coap.enabled {
        let socket = bind_udp(config.coap.listen, "coap").await?;
        servers.push(tokio::spawn(app::serve_coap(socket, api.clone(), closing())));
    }
    if let Some(dtls) = &config.coap.dtls {
        let socket = bind_udp(dtls.listen, "coap.dtls").await?;
        let (api, closing, dtls, config) = (api.clone(), closing(), dtls.clone(), config.clone());
        servers.push(tokio::spawn(async move {
            if let Err(error) = app::serve_coap_dtls(socket, api, &dtls, &config, closing).await {
                tracing::error!(error = format!("{error:#}"), "CoAP over DTLS is not served");
            }
        }));
    }
    let Coap { tcp, tls, ws, wss, .. } = &config.coap;
    for (name, framing, plain, secure) in [
        ("coap.tcp", CoapFraming::Length, *tcp, None),
        ("coap.tls", CoapFraming::Length, None, tls.as_ref()),
        ("coap.ws", CoapFraming::Carrier, *ws, None),
        ("coap.wss", CoapFraming::Carrier, None, wss.as_ref()),
    ] {
        let Some(listen) = plain.or(secure.map(|settings| settings.listen)) else { continue };
        let tls = secure.map(|settings| app::coap_tls(settings, framing)).transpose().context(name)?;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen} ({name})"))?;
        tracing::info!(address = %listener.local_addr()?, name, "CoAP");
        servers.push(tokio::spawn(app::serve_coap_streams(listener, tls, framing, api.clone(), closing())));
    }
    Ok(servers)
}

async fn bind_udp(listen: SocketAddr, name: &str) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(listen).await;
    let socket = socket.with_context(|| format!("cannot listen on {listen} ({name})"))?;
    tracing::info!(address = %socket.local_addr()?, name, "CoAP");
    Ok(socket)
}

async fn bind(listen: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// SIGTERM and SIGINT.
pub(crate) struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Completes with the name of the signal that came.
    pub(crate) async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
