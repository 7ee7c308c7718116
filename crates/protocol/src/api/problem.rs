//! Why the service refuses something: problem documents of RFC 9457.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Media type of a problem.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of problem.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected, what was found, what to do.
    pub detail: String,
}

impl Problem {
    /// A problem with what was expected, what was found and what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.title, self.status, self.detail)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// The kinds of problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ProblemKind {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl ProblemKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The URI reference that names the kind.
            pub fn uri(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status of the kind.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The kind in words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

kinds! {
    /// A request line, header or body that cannot be parsed.
    Malformed = "/problems/malformed", 400, "the request cannot be understood";
    /// No token, or an unknown one.
    Unauthorized = "/problems/unauthorized", 401, "a token of this server is needed";
    /// A token without the permission.
    Forbidden = "/problems/forbidden", 403, "the token does not allow this";
    /// It does not exist, or belongs to another client.
    NotFound = "/problems/not-found", 404, "not found";
    /// A method that the resource does not have.
    Method = "/problems/method", 405, "the resource does not have this method";
    /// The request took too long to arrive.
    Timeout = "/problems/timeout", 408, "the request took too long to arrive";
    /// It contradicts an earlier request, or comes at the wrong moment.
    Conflict = "/problems/conflict", 409, "in conflict with what is there";
    /// A body of unknown length.
    LengthRequired = "/problems/length-required", 411, "the length of the body has to be given";
    /// A body over the limit.
    TooLarge = "/problems/too-large", 413, "larger than allowed";
    /// Another media type than the expected one.
    MediaType = "/problems/media-type", 415, "another media type is expected";
    /// A range outside of the content.
    Range = "/problems/range", 416, "no such range";
    /// Content that was read and is wrong: digests, residues, sizes, another plan or key.
    Invalid = "/problems/invalid", 422, "the content is not what it should be";
    /// Beyond the client's quota.
    Quota = "/problems/quota", 429, "over the quota";
    /// A header section over the limit.
    Headers = "/problems/headers", 431, "the header is larger than allowed";
    /// A bug, or a disk that fails.
    Internal = "/problems/internal", 500, "the server failed";
    /// Too busy, or shutting down.
    Unavailable = "/problems/unavailable", 503, "not now";
    /// The disk is full.
    Storage = "/problems/storage", 507, "the server has no room";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_what_the_rfc_says() {
        let problem = Problem::new(ProblemKind::Quota, "expected 2 jobs at most");
        let json = serde_json::to_value(&problem).expect("serializes");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "/problems/quota",
                "title": "over the quota",
                "status": 429,
                "detail": "expected 2 jobs at most",
            })
        );
        for &kind in ProblemKind::ALL {
            let problem = Problem::new(kind, "x");
            let json = serde_json::to_string(&problem).expect("serializes");
            assert_eq!(
                serde_json::from_str::<Problem>(&json).expect("parses"),
                problem
            );
            assert!(json.contains(kind.uri()));
        }
    }
}
