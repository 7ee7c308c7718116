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
    if error.is::<rustls::Error>() {
        return true;
    }
    // What an I/O error wraps is not its source, but that one's.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => is_about_tls(inner),
        None => error.source().is_some_and(is_about_tls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_tls_is_found_however_deep() {
        let tls = rustls::Error::HandshakeNotComplete;
        let once = std::io::Error::other(tls);
        assert!(is_about_tls(&once));
        let twice = std::io::Error::other(once);
        assert!(is_about_tls(&twice));
        let above = crate::Error::File(sordino_container::Error::io("x", "read", twice));
        assert!(is_about_tls(&above));
        assert!(!is_about_tls(&std::io::Error::other("reset")));
    }
}
