//! Whom to trust.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;
use sordino_container::Error as FileError;

use crate::Error;

/// Most bytes of a file of certificates.
const FILE_LIMIT: u64 = 1 << 20;

/// The provider is given here rather than installed for the whole process, which belongs to whoever uses this crate.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| certificates("TLS".to_owned(), error))
}

/// Trusts what the system trusts.
pub(super) fn system() -> Result<ClientConfig, Error> {
    let trusted = builder()?
        .with_platform_verifier()
        .map_err(|error| certificates("the system's certificates".to_owned(), error))?;
    Ok(trusted.with_no_client_auth())
}

/// Trusts the certificates of a file and nothing else.
pub(super) fn only(path: &Path) -> Result<ClientConfig, Error> {
    let location = path.display().to_string();
    let found = fs::metadata(path).map_err(|error| FileError::io(path, "open", error))?;
    if !found.is_file() {
        return Err(FileError::NotAFile { path: path.into() }.into());
    }
    if found.len() > FILE_LIMIT {
        let what = format!("expected certificates of {FILE_LIMIT} bytes at most");
        return Err(certificates(location, what));
    }
    let text = fs::read(path).map_err(|error| FileError::io(path, "read", error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| certificates(location.clone(), error))?;
        roots
            .add(certificate)
            .map_err(|error| certificates(location.clone(), error))?;
    }
    if roots.is_empty() {
        let what = "expected a certificate, found none";
        return Err(certificates(location, what));
    }
    Ok(builder()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Trusts no certificate, for connections without TLS.
pub(super) fn none() -> Result<ClientConfig, Error> {
    Ok(builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn certificates(location: String, what: impl ToString) -> Error {
    let what = what.to_string();
    Error::Certificates { location, what }
}
