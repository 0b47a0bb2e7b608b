//! API keys and AWS access keys: made, listed, disabled, removed.
//!
//! Next: `authn/token.rs`, which recognises them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::{PageOf, Service};
use crate::authn::directory::Key;
use crate::authn::{Caller, new_api_key, new_aws_key_id};
use crate::error::{Error, Kind, Result};
use crate::names::{Name, Noun, shown};
use crate::policy::{Kind as PolicyKind, Permit, Policy};
use crate::store::keys::{self as kept, KeyKind};
use crate::store::now;

/// A new key. What is secret in it is shown once.
#[derive(Debug, Clone)]
pub enum Made {
    /// A bearer key.
    Api {
        /// Its public part.
        id: String,
        /// The whole of it.
        key: String,
    },
    /// An AWS access key.
    Aws {
        /// The access key id.
        id: String,
        /// The secret access key.
        secret: String,
    },
}

impl Made {
    /// As it is shown, once, wherever keys are made.
    pub fn shown(&self) -> Value {
        match self {
            Self::Api { id, key } => json!({ "KeyId": id, "ApiKey": key }),
            Self::Aws { id, secret } => json!({ "AccessKeyId": id, "SecretAccessKey": secret }),
        }
    }
}

/// Whether a key can be used, in a word.
pub fn state(key: &Key) -> &'static str {
    match key.record.expires_at {
        _ if key.record.disabled => "disabled",
        Some(end) if end <= now() => "expired",
        _ => "active",
    }
}

/// A key as lists show it.
pub fn listed(key: &Key) -> Value {
    let record = &key.record;
    json!({
        "id": record.id, "user": key.user.name, "kind": record.kind.word(), "state": state(key), "disabled": record.disabled,
        "expiresAt": record.expires_at, "createdAt": record.created_at, "narrowed": record.document.is_some(),
    })
}

/// A key as it is shown alone: with the policy that narrows it, as that was written.
pub fn whole(key: &Key) -> Value {
    let mut shown = listed(key);
    let policy = key.record.document.as_deref().and_then(|document| serde_json::from_str(document).ok());
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("policy".to_owned(), policy.unwrap_or(Value::Null));
    }
    shown
}

/// The most keys of a user: each is kept in memory with its policy.
const KEYS_MAX: usize = 100;
/// The longest policy of a key, in bytes: as long as a managed policy of AWS.
const DOCUMENT_MAX: usize = 6144;

impl Service {
    /// Makes a key of `user`.
    ///
    /// # Errors
    /// Denied, no such user, a malformed or long policy, an expiry in the past, as many keys as one may have.
    pub fn create_key(&self, caller: &Caller, user: &str, kind: KeyKind, document: Option<&str>, expires_at: Option<i64>) -> Result<Made> {
        let user = self.canonical(Noun::User, user)?;
        let arn = Noun::User.arn(user.as_str());
        let permit = self.authorise(caller, "iam:CreateAccessKey", &arn, |_| ())?;
        if caller.is_narrowed() {
            return Err(Error::new(
                Kind::Denied,
                "a key with a policy of its own cannot make keys, which would not have it; sign in instead",
            ));
        }
        if let Some(document) = document {
            if document.len() > DOCUMENT_MAX {
                return Err(Error::invalid(format!(
                    "the key's policy is {} bytes long; at most {DOCUMENT_MAX} fit, since whoever has a key may make others; what is longer belongs to the user",
                    document.len()
                )));
            }
            Policy::parse(document, PolicyKind::Identity)?;
        }
        if expires_at.is_some_and(|end| end <= now()) {
            return Err(Error::invalid("the key would have expired already; `expiresAt` counts seconds since 1970"));
        }
        let (made, id, hash) = match kind {
            KeyKind::Api => {
                let new = new_api_key()?;
                (Made::Api { id: new.id.clone(), key: new.key }, new.id, Some(new.secret_hash))
            }
            KeyKind::Aws => {
                let id = new_aws_key_id()?;
                let secret: String = STANDARD_NO_PAD.encode(self.master.derive(&format!("aws {id}"))).chars().take(40).collect();
                (Made::Aws { id: id.clone(), secret }, id, None)
            }
        };
        self.change(&permit, caller, "iam:CreateAccessKey", &arn, |tx| {
            self.guard(caller, Noun::User, user.as_str())?;
            if kept::count(tx, &user)? >= KEYS_MAX {
                return Err(Error::conflict(format!("user `{user}` has {KEYS_MAX} keys, as many as one may have; delete one first")));
            }
            kept::create(tx, &user, kind, &id, hash, document, expires_at)
        })?;
        Ok(made)
    }

    /// Up to `count` keys after the id `after`, of a user or of all, by id.
    ///
    /// # Errors
    /// Denied, no such user.
    pub fn keys(&self, caller: &Caller, user: Option<&str>, after: &str, count: usize) -> Result<PageOf<Arc<Key>>> {
        let user = user.map(|user| self.canonical(Noun::User, user)).transpose()?;
        let user = user.as_ref().map(Name::as_str);
        let _permit = self.authorise(caller, "iam:ListAccessKeys", &Noun::User.arn(user.unwrap_or("*")), |_| ())?;
        let snapshot = self.snapshot.load();
        let row = match user {
            None => None,
            Some(user) => {
                let found = snapshot.directory.find(Noun::User, user);
                Some(found.ok_or_else(|| Error::not_found(format!("there is no user `{}`", shown(user))))?.row)
            }
        };
        Ok(PageOf::cut(snapshot.directory.keys(row), |key| &key.record.id, after, count))
    }

    /// One key.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn key(&self, caller: &Caller, id: &str) -> Result<Arc<Key>> {
        // AWS has no action for one key alone; who may list a user's keys may see each of them.
        let _permit = self.authorise_key(caller, "iam:ListAccessKeys", id)?;
        self.own_key(id)
    }

    fn own_key(&self, id: &str) -> Result<Arc<Key>> {
        self.snapshot.load().directory.key(id).cloned().ok_or_else(|| Error::not_found(format!("there is no key `{}`", shown(id))))
    }

    /// Disables or enables a key.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn set_key_disabled(&self, caller: &Caller, id: &str, disabled: bool) -> Result<()> {
        let (permit, arn, user) = self.authorise_key(caller, "iam:UpdateAccessKey", id)?;
        self.change(&permit, caller, "iam:UpdateAccessKey", &arn, |tx| {
            self.guard(caller, Noun::User, &user)?;
            kept::set_disabled(tx, id, disabled)
        })
    }

    /// Removes a key.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn delete_key(&self, caller: &Caller, id: &str) -> Result<()> {
        let (permit, arn, user) = self.authorise_key(caller, "iam:DeleteAccessKey", id)?;
        self.change(&permit, caller, "iam:DeleteAccessKey", &arn, |tx| {
            self.guard(caller, Noun::User, &user)?;
            kept::delete(tx, id)
        })
    }

    /// A key is its user's; one that does not exist is asked for as anybody's, so that its absence is told only to those
    /// who may know.
    fn authorise_key(&self, caller: &Caller, action: &str, id: &str) -> Result<(Permit, String, String)> {
        let key = self.own_key(id);
        let arn = Noun::User.arn(key.as_ref().map_or("*", |key| key.user.name.as_str()));
        let permit = self.authorise(caller, action, &arn, |_| ()).map_err(|denied| {
            // The refusal names nobody, so it does not tell whose key it is.
            self.decide(caller, action, &Noun::User.arn("*"), |_| ()).err().unwrap_or(denied)
        })?;
        Ok((permit, arn, key?.user.name.clone()))
    }
}
