//! Bearer credentials: tokens from a login (JWT) and API keys (`rk_<id>_<secret>`).
//!
//! One signing algorithm, pinned here: whatever a token's header says, anything but HS256 under our derived key is
//! refused. A token whose signature has held once is remembered by its whole text, so the next request with it costs a
//! look-up; expiry, revocation and the user's state are asked every time. Next: `directory.rs`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::fast::RandomState;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::directory::{Directory, Principal};
use super::{Answer, Credential, Evidence, MasterKey, Proven, fingerprint, random, refused};
use crate::error::{Error, Result};
use crate::names::hex;

const ISSUER: &str = "rookery";
/// Tokens remembered; when full, all are forgotten and verified anew.
const REMEMBERED: usize = 10_000;
/// A token is longer than a few claims only if someone made it so.
const TOKEN_MAX: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The user's `aws:userid`.
    sub: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    /// The user's generation when it was made.
    generation: i64,
}

/// Claims whose signature has held.
struct Checked {
    claims: Claims,
    id: Arc<str>,
}

/// Makes and checks tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    remembered: RwLock<HashMap<Box<str>, Arc<Checked>, RandomState>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// A new token.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
}

impl Tokens {
    /// Tokens signed under a key derived from `master`.
    pub fn new(master: &MasterKey) -> Self {
        let secret = master.derive("token");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Time is checked on every request against the caller's clock, not only when the signature is.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            encoding: EncodingKey::from_secret(&secret),
            decoding: DecodingKey::from_secret(&secret),
            validation,
            remembered: RwLock::new(HashMap::default()),
        }
    }

    /// A token for `user` that lives `seconds` from `now`.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn issue(&self, user: &Principal, now: i64, seconds: i64) -> Result<Issued> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
            sub: user.unique_id.clone(),
            exp: now + seconds,
            nbf: now,
            iat: now,
            jti: hex(&random::<16>()?),
            generation: user.generation,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(Error::internal)?;
        Ok(Issued { token, expires_at: claims.exp })
    }

    fn check(&self, token: &str) -> Option<Arc<Checked>> {
        if let Some(checked) = self.remembered.read().unwrap_or_else(PoisonError::into_inner).get(token) {
            return Some(checked.clone());
        }
        if token.len() > TOKEN_MAX {
            return None;
        }
        let claims = decode::<Claims>(token, &self.decoding, &self.validation).ok()?.claims;
        let checked = Arc::new(Checked { id: claims.jti.as_str().into(), claims });
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(token.into(), checked.clone());
        Some(checked)
    }
}

fn bearer<'a>(evidence: &Evidence<'a>) -> Option<&'a str> {
    let [header] = evidence.authorization else { return None };
    let (scheme, value) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case("Bearer ").then(|| value.trim_ascii())
}

/// `Authorization: Bearer rk_<id>_<secret>`.
pub(super) fn api_key(_tokens: &Tokens, directory: &Directory, evidence: &Evidence<'_>, now: i64) -> Answer {
    let Some(key) = bearer(evidence).and_then(|value| value.strip_prefix("rk_")) else { return Answer::NotAsked };
    let wrong = || Answer::Failed(refused("the API key is not known; check it, or make a new one with `rookery key create`"));
    let Some((id, secret)) = key.split_once('_') else { return wrong() };
    let Some(known) = directory.key(id).filter(|key| Directory::is_bearer(key)) else { return wrong() };
    let right = known.record.secret_hash.is_some_and(|hash| bool::from(hash.ct_eq(&fingerprint(secret))));
    if !right {
        return wrong();
    }
    if known.record.disabled || known.user.disabled {
        return Answer::Failed(refused("the API key or its user is disabled; ask an administrator"));
    }
    if known.record.expires_at.is_some_and(|end| end <= now) {
        return Answer::Failed(refused("the API key has expired; make a new one"));
    }
    Answer::Known(Proven {
        principal: known.user.clone(),
        narrowed: known.narrowed.clone(),
        credential: Credential::Key(id.to_owned()),
        issued_at: None,
    })
}

/// `Authorization: Bearer <JWT>`.
pub(super) fn jwt(tokens: &Tokens, directory: &Directory, evidence: &Evidence<'_>, now: i64) -> Answer {
    let Some(token) = bearer(evidence) else { return Answer::NotAsked };
    let Some(checked) = tokens.check(token) else {
        return Answer::Failed(refused("the token is not one of this server; sign in again at POST /api/v1/login"));
    };
    let claims = &checked.claims;
    if claims.exp <= now || claims.nbf > now {
        return Answer::Failed(refused("the token has expired; sign in again at POST /api/v1/login"));
    }
    match directory.by_unique_id(&claims.sub) {
        Some(user) if !user.disabled && user.generation == claims.generation && !directory.is_revoked(&claims.jti) => {
            Answer::Known(Proven {
                principal: user.clone(),
                narrowed: None,
                credential: Credential::Token { id: checked.id.clone(), expires_at: claims.exp },
                issued_at: Some(claims.iat),
            })
        }
        _ => Answer::Failed(refused("the token was ended by a sign-out, a password change or an administrator; sign in again")),
    }
}

/// A new API key: what its user keeps, and what is stored.
#[derive(Debug)]
pub struct NewKey {
    /// Its public part.
    pub id: String,
    /// The whole key. Shown once.
    pub key: String,
    /// The SHA-256 of its secret part.
    pub secret_hash: [u8; 32],
}

/// Makes an API key.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_api_key() -> Result<NewKey> {
    let id = hex(&random::<8>()?);
    let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
    Ok(NewKey { key: format!("rk_{id}_{secret}"), secret_hash: fingerprint(&secret), id })
}

/// A new AWS access key id: `AKIA` and 16 characters of base32.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_aws_key_id() -> Result<String> {
    let mut id = String::from("AKIA");
    for byte in random::<16>()? {
        id.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".get(usize::from(byte % 32)).copied().unwrap_or(b'A')));
    }
    Ok(id)
}
