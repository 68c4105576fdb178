//! A connection to a host: its name looked up, its addresses checked, TCP, TLS. The address that was checked is the one
//! that is connected to. Not here: HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::Allow;

/// Why no TLS connection can be made at all. The operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("outgoing TLS cannot be set up: {0}")]
pub struct TlsSetupError(pub(crate) String);

/// TCP, or TLS over it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TLS with the authorities that the system trusts.
pub(crate) fn tls() -> Result<Arc<ClientConfig>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsSetupError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Connects; with `tls` over TLS.
///
/// # Errors
/// A text for people; nothing of the request has left.
pub(crate) async fn connect(
    host: &str,
    port: u16,
    allow: Allow,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await.map_err(|error| format!("{host}: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    let allowed: Vec<SocketAddr> =
        found.iter().copied().filter(|address| allow.allows(address.ip())).collect();
    if allowed.is_empty() {
        return Err(match found.first() {
            Some(_) => format!("{host} is not a public address, and others may not be called"),
            None => format!("{host} has no address"),
        });
    }
    let tcp = TcpStream::connect(&allowed[..])
        .await
        .map_err(|error| format!("cannot connect to {host}: {error}"))?;
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("{host} is no name that a certificate can be for"))?;
    let connected = TlsConnector::from(tls.clone()).connect(name, tcp).await;
    Ok(Box::new(connected.map_err(|error| format!("TLS with {host} failed: {error}"))?))
}
