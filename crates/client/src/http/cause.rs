//! What is behind an error of the HTTP client.

use std::error::Error as StdError;

/// The last reason of a chain, which is the one that tells something.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// Whether the connection failed over TLS: a certificate that is not trusted will not be in a second.
pub(super) fn is_about_tls(error: &(dyn StdError + 'static)) -> bool {
    tls(error).is_some()
}

/// Whether the other side did not even begin to speak TLS.
pub(super) fn is_no_tls(error: &(dyn StdError + 'static)) -> bool {
    use rustls::InvalidMessage::{InvalidContentType, UnknownProtocolVersion};

    matches!(
        tls(error),
        Some(rustls::Error::InvalidMessage(
            InvalidContentType | UnknownProtocolVersion
        ))
    )
}

/// Whether the other side answered with something else than HTTP, such as the alert by which TLS refuses.
pub(super) fn is_no_http(error: &(dyn StdError + 'static)) -> bool {
    // The library's own error has no public kind for it.
    innermost(error).starts_with("invalid HTTP version")
}

/// Whether the connection was closed before there was an answer.
pub(super) fn is_closed(error: &(dyn StdError + 'static)) -> bool {
    innermost(error).starts_with("connection closed before")
}

/// Whether the server's certificate may sign others, as self-signed ones do that are made without care.
pub(super) fn is_authority_itself(error: &(dyn StdError + 'static)) -> bool {
    // The library that checks certificates has its own type for it, behind one of rustls.
    tls(error).is_some_and(|error| error.to_string().contains("CaUsedAsEndEntity"))
}

/// The error of TLS in a chain.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref() {
        return Some(error);
    }
    // What an I/O error wraps is not its source, but that one's.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => tls(inner),
        None => tls(error.source()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("above")]
    struct Above(#[source] std::io::Error);

    /// What the library that checks certificates says of an authority's.
    #[derive(Debug, thiserror::Error)]
    #[error("an authority")]
    struct CaUsedAsEndEntity;

    #[test]
    fn the_certificate_of_an_authority_is_told_from_others() {
        let other = rustls::OtherError(std::sync::Arc::new(CaUsedAsEndEntity));
        let of = |error| {
            let error = rustls::Error::InvalidCertificate(error);
            is_authority_itself(&std::io::Error::other(error))
        };
        assert!(of(rustls::CertificateError::Other(other)));
        assert!(!of(rustls::CertificateError::Expired));
    }

    #[test]
    fn trouble_with_tls_is_found_however_deep() {
        let tls = rustls::Error::HandshakeNotComplete;
        let once = std::io::Error::other(tls);
        assert!(is_about_tls(&once));
        let twice = std::io::Error::other(once);
        assert!(is_about_tls(&twice));
        let above = Above(twice);
        assert!(is_about_tls(&above));
        assert!(!is_about_tls(&std::io::Error::other("reset")));
    }
}
