//! TLS of a listener: its certificate, whose clients' certificates it takes, and handshakes. Not here: whose device a certificate
//! is (the keyring).

use std::io;
use std::sync::Arc;

use coap_proto::stream::Framing;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Shown;

/// What a TLS listener is made of, each in PEM form (RFC 7468).
pub struct TlsPem<'a> {
    /// Its certificates, its own first.
    pub certificates: &'a str,
    /// The private key of the first one.
    pub key: &'a str,
    /// Who may have signed the certificates that devices show; none: they show none.
    pub client_authorities: Option<&'a str>,
}

/// Why TLS cannot be set up. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// This is not PEM, or holds nothing of its kind.
    #[error("the {0} cannot be read: {1}")]
    Pem(&'static str, String),
    /// Certificate and key do not fit, or cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] rustls::Error),
    /// The authorities of clients cannot be used.
    #[error("the authorities of client certificates cannot be used: {0}")]
    Authorities(String),
}

/// Makes TLS of connections. Cheap to clone.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// TLS 1.2 and 1.3, with the protocol's name as clients with that framing know it (RFC 8323 sections 8.2 and 8.4). A device may
    /// show a certificate when there are authorities for that, and need not.
    ///
    /// # Errors
    /// When something of it cannot be used.
    pub fn new(pem: &TlsPem<'_>, framing: Framing) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match pem.client_authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let unusable = |error: &dyn std::error::Error| TlsError::Authorities(error.to_string());
                let mut roots = RootCertStore::empty();
                for certificate in certificates("client authorities", authorities)? {
                    roots.add(certificate).map_err(|error| unusable(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(&error))?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes())
            .map_err(|error| TlsError::Pem("key", error.to_string()))?;
        let mut config = builder.with_single_cert(certificates("certificate", pem.certificates)?, key)?;
        let protocol: &[u8] = match framing {
            Framing::Length => b"coap",
            Framing::Carrier => b"http/1.1",
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        if pem.client_authorities.is_some() {
            // Whoever resumes a session shows no certificate: it would be good for longer than it is valid.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// A connection after its handshake, with the certificate that the device has shown.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Shown>)> {
        let stream = self.0.accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let shown = chain.and_then(|chain| chain.first()).map(|certificate| Shown::of(certificate));
        Ok((stream, shown))
    }
}

pub(crate) fn certificates(kind: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::Pem(kind, "it holds no certificate".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem(kind, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../../tests/fixtures/x509/", $name))
        };
    }

    /// What a client that remembers sessions does the second time.
    async fn second(client_authorities: Option<&str>, version: ProtocolVersion) -> HandshakeKind {
        let (certificates, key) = (fixture!("bridge.pem"), fixture!("bridge.key"));
        let tls = Tls::new(&TlsPem { certificates, key, client_authorities }, Framing::Length).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(fixture!("ca.pem").as_bytes()).unwrap()).unwrap();
        let versions = rustls::ALL_VERSIONS.iter().copied().filter(|one| one.version == version);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions.collect::<Vec<_>>())
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(fixture!("device.pem").as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(fixture!("device.key").as_bytes()).unwrap(),
            )
            .unwrap();
        let client = TlsConnector::from(Arc::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut kind = HandshakeKind::Full;
        for _ in 0..2 {
            let accepting = async {
                let (mut stream, shown) = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
                stream.write_all(b"x").await.unwrap();
                stream.shutdown().await.unwrap();
                shown
            };
            let connecting = async {
                let stream = TcpStream::connect(address).await.unwrap();
                let mut stream = client.connect(address.ip().into(), stream).await.unwrap();
                // What it remembers comes before that.
                stream.read_to_end(&mut Vec::new()).await.unwrap();
                stream.get_ref().1.handshake_kind().unwrap()
            };
            let (shown, this) = tokio::join!(accepting, connecting);
            assert_eq!(shown.is_some(), client_authorities.is_some());
            kind = this;
        }
        kind
    }

    #[tokio::test]
    async fn a_certificate_is_shown_each_time() {
        for version in [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3] {
            assert_eq!(second(None, version).await, HandshakeKind::Resumed);
            assert_eq!(second(Some(fixture!("ca.pem")), version).await, HandshakeKind::Full);
        }
    }

    #[test]
    fn what_is_no_pem_is_refused() {
        let told = |certificates, key| {
            let pem = TlsPem { certificates, key, client_authorities: None };
            Tls::new(&pem, Framing::Length).err().unwrap().to_string()
        };
        let block = |kind: &str| format!("-----BEGIN {kind}-----\nczNjcjN0\n-----END {kind}-----\n");
        let (certificate, key) = (block("CERTIFICATE"), block("PRIVATE KEY"));
        assert!(told(&certificate, "").starts_with("the key cannot be read"));
        assert_eq!(told("", &key), "the certificate cannot be read: it holds no certificate");
        let unusable = told(&certificate, &key);
        assert!(unusable.starts_with("the certificate cannot be used") && !unusable.contains("czNjcjN0"));
    }
}
