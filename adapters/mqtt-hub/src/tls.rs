//! TLS for links: trusted authorities, client certificate. Not here: handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Pem, TlsPem};

/// Why TLS cannot be set up. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A text is not PEM of the right kind.
    #[error("{path}: {why}")]
    File {
        /// Where it comes from.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system trusts no authority.
    #[error("the system has no certificate authorities; set tls.ca_file")]
    NoAuthorities,
    /// Certificate and key do not fit.
    #[error("the client certificate cannot be used: {0}")]
    Client(String),
}

/// The configuration of TLS for these texts.
pub(crate) fn client_config(pem: &TlsPem) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match &pem.authorities {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| unusable(pem, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(pem
            .authorities
            .as_ref()
            .map_or(TlsError::NoAuthorities, |pem| unusable(pem, "no certificate")));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Client(error.to_string()))?
        .with_root_certificates(roots);
    let config = match &pem.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key_der = PrivateKeyDer::from_pem_slice(key.text.reveal().as_bytes())
                .map_err(|error| unusable(key, error))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key_der)
                .map_err(|error| TlsError::Client(error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem.text.reveal().as_bytes());
    certificates.collect::<Result<_, _>>().map_err(|error| unusable(pem, error))
}

fn unusable(pem: &Pem, why: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: pem.origin.clone(), why: why.to_string() }
}
