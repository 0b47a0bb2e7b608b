//! The one error type of the crate: what kind of refusal, a sentence for the person who gets it, a cause for the log.
//!
//! It must not know HTTP statuses, AWS codes or SQL: `http/reply.rs` alone turns a kind into a status and a code.
//! The message never carries a path of the server, SQL or another principal's data; such things go into the source,
//! which is logged and never sent. Next: `names.rs`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The result of everything here that can be refused.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of refusal it is. Callers branch on this, never on the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong; sending it again changes nothing.
    Validation,
    /// No credential, or one that does not hold.
    Unauthenticated,
    /// A known caller without the permission.
    Denied,
    /// The named thing is not there.
    NotFound,
    /// The named thing is there already, or is still in use.
    Conflict,
    /// An `If-Match` or `If-None-Match` did not hold.
    Precondition,
    /// A body, an archive or a model over its limit.
    TooLarge,
    /// A content type that cannot be read or written.
    Unsupported,
    /// The model could not answer.
    Model,
    /// Too many attempts; later ones may pass.
    Throttled,
    /// Full or stopping; the same request may pass in a moment.
    Unavailable,
    /// Our fault.
    Internal,
}

/// A refusal. Cheap to clone, because everyone who waited for one failed load receives the same one.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    code: Option<&'static str>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A refusal of `kind` that tells the caller `message`: one sentence, what was wrong and what to do.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, code: None, message: message.into(), source: None }
    }

    /// [`Kind::Validation`] in one word, since most refusals are that.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Validation, message)
    }

    /// [`Kind::NotFound`].
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// [`Kind::Conflict`].
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// [`Kind::Internal`] with its cause for the log; the caller reads only that it failed and what to do.
    pub fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new(Kind::Internal, "the server failed to carry this out; its log has the cause").because(source)
    }

    /// The same refusal with the cause that the log gets.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same refusal with a machine-readable code inside its kind, such as `TARGET_MODEL_HEADER_NOT_SUPPORTED`.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The same refusal seen from further out: `context` is put before the sentence.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = Cow::Owned(format!("{context}: {}", self.message));
        self
    }

    /// The same refusal as another kind, where a caller further out knows better whose fault it is.
    #[must_use]
    pub fn as_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// What kind of refusal this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The code inside the kind, where there is one.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// The sentence for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        match &self.source {
            Some(source) => write!(f, " (because {source})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn std::error::Error + 'static))
    }
}
