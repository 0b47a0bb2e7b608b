//! Who is asking: credentials in, a [`Caller`] out. Nothing else makes one.
//!
//! Schemes stand in an ordered list; each answers *not asked*, *known* or *failed*, and the first failure ends it. Two
//! kinds of credentials in one request are refused. It must not decide what a caller may do: that is `policy/`, asked
//! by `service/`. Next: `directory.rs` (who exists), `token.rs` (bearer credentials), `password.rs` (sign-in).

pub mod directory;
mod key_file;
mod password;
mod throttle;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use key_file::MasterKey;
pub use password::{Passwords, hash as hash_password};
pub use throttle::Throttle;
pub use token::{Issued, NewKey, Tokens, new_api_key, new_aws_key_id};

use self::directory::{Directory, Principal};
use crate::error::{Error, Kind, Result};
use crate::policy::{Context, Grants};
use crate::store::sessions::Session;

/// How a request came.
#[derive(Debug, Clone)]
pub struct Transport {
    /// From where.
    pub address: IpAddr,
    /// Over TLS.
    pub secure: bool,
    /// User-Agent.
    pub agent: Option<String>,
}

/// What a request shows of its sender.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Every Authorization header.
    pub authorization: &'a [&'a str],
    /// The console's session, and the [`fingerprint`] of the cookie that it was looked up by.
    pub session: Option<(&'a Session, [u8; 32])>,
}

/// What the caller proved to be who they are with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token from a login.
    Token {
        /// Its id.
        id: Arc<str>,
        /// When it ends, in seconds since 1970.
        expires_at: i64,
    },
    /// An API key, by its public part.
    Key(String),
    /// A console session.
    Session {
        /// By which it is kept.
        hash: [u8; 32],
        /// When it ends, in seconds since 1970.
        expires_at: i64,
    },
    /// Whoever may open the database file.
    File,
}

/// An identified caller. Made only here.
#[derive(Debug, Clone)]
pub struct Caller {
    principal: Arc<Principal>,
    /// A key's own policy narrows its user's; then these are not the principal's.
    narrowed: Option<Grants>,
    credential: Credential,
    issued_at: Option<i64>,
    transport: Transport,
}

impl Caller {
    /// Who it is.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The policies that speak for or against it.
    pub fn grants(&self) -> &Grants {
        self.narrowed.as_ref().unwrap_or(&self.principal.grants)
    }

    /// Whether its key has a policy of its own, so that it may less than its user.
    pub fn is_narrowed(&self) -> bool {
        self.narrowed.is_some()
    }

    /// What it showed.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Fills what policies may ask of any request of this caller.
    pub fn fill<'a>(&'a self, context: &mut Context<'a>, now: i64) {
        let principal = &self.principal;
        context.principal(Some(&principal.name), &principal.unique_id, &principal.arn, &principal.tags);
        context.transport(self.transport.address, self.transport.secure, self.transport.agent.as_deref());
        context.moment(now, self.issued_at);
    }

    /// The same caller in the picture of `now`, if the credential still holds.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] when it was ended since.
    pub fn renewed(&self, directory: &Directory, now: i64) -> Result<Self> {
        if self.credential == Credential::File {
            return Ok(self.clone());
        }
        let principal = directory.by_unique_id(&self.principal.unique_id).ok_or_else(ended)?;
        let mut narrowed = None;
        let holds = match &self.credential {
            Credential::Token { id, expires_at } => {
                *expires_at > now && !directory.is_revoked(id) && principal.generation == self.principal.generation
            }
            Credential::Key(id) => {
                let key = directory.key(id).ok_or_else(ended)?;
                narrowed.clone_from(&key.narrowed);
                !key.record.disabled && key.record.expires_at.is_none_or(|end| end > now)
            }
            Credential::Session { expires_at, .. } => *expires_at > now && principal.generation == self.principal.generation,
            Credential::File => true,
        };
        if !holds || principal.disabled {
            return Err(ended());
        }
        Ok(Self { principal: principal.clone(), narrowed, ..self.clone() })
    }

    /// Whoever opened the database file on this machine: an administrator.
    pub fn file(directory: &Directory) -> Self {
        Self {
            principal: directory.file.clone(),
            narrowed: None,
            credential: Credential::File,
            issued_at: None,
            transport: Transport { address: IpAddr::from([127, 0, 0, 1]), secure: true, agent: Some("rookery".to_owned()) },
        }
    }
}

/// What a scheme says to a request.
enum Answer {
    NotAsked,
    Known(Proven),
    Failed(Error),
}

/// What a scheme proved.
struct Proven {
    principal: Arc<Principal>,
    narrowed: Option<Grants>,
    credential: Credential,
    issued_at: Option<i64>,
}

type Scheme = fn(&Tokens, &Directory, &Evidence<'_>, i64) -> Answer;

/// In this order. A new scheme is a new line.
const SCHEMES: [Scheme; 3] = [token::api_key, token::jwt, session];

/// Identifies the sender of a request at `now`.
///
/// # Errors
/// [`Kind::Unauthenticated`] saying what to send instead.
pub fn identify(tokens: &Tokens, directory: &Directory, evidence: &Evidence<'_>, transport: Transport, now: i64) -> Result<Caller> {
    if evidence.authorization.len() + usize::from(evidence.session.is_some()) > 1 {
        return Err(refused("the request carries two credentials; send one"));
    }
    for scheme in SCHEMES {
        match scheme(tokens, directory, evidence, now) {
            Answer::NotAsked => {}
            Answer::Known(Proven { principal, narrowed, credential, issued_at }) => {
                return Ok(Caller { principal, narrowed, credential, issued_at, transport });
            }
            Answer::Failed(error) => return Err(error),
        }
    }
    Err(match evidence.authorization {
        [] => refused("the request carries no credential; send `Authorization: Bearer` with a token from POST /api/v1/login or an API key"),
        _ => refused("the Authorization header is of an unknown kind; send `Authorization: Bearer` with a token or an API key"),
    })
}

/// What a request is told whose credential held when it began.
pub(crate) fn ended() -> Error {
    refused("the credential was ended while the request was sent")
}

fn refused(message: &'static str) -> Error {
    Error::new(Kind::Unauthenticated, message)
}

/// A console session, still of the user's current generation.
fn session(_tokens: &Tokens, directory: &Directory, evidence: &Evidence<'_>, now: i64) -> Answer {
    let Some((session, hash)) = evidence.session else { return Answer::NotAsked };
    match directory.user_by_row(session.user) {
        Some(principal) if session.expires_at > now && !principal.disabled && principal.generation == session.generation => {
            let credential = Credential::Session { hash, expires_at: session.expires_at };
            Answer::Known(Proven { principal: principal.clone(), narrowed: None, credential, issued_at: None })
        }
        _ => Answer::Failed(refused("the session has ended; sign in again")),
    }
}

/// `count` random bytes from the system.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::new(Kind::Internal, "the system gave no random bytes"))?;
    Ok(bytes)
}

/// What is kept of a secret to recognise it by.
pub fn fingerprint(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
