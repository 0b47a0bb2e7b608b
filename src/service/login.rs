//! Signing in and out, for tokens and for the console, and the first administrator.
//!
//! These verbs ask no policy: they are how one gets to be someone. Next: `authn/`.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::Service;
use super::principals::NewOne;
use crate::authn::directory::Principal;
use crate::authn::{Caller, Credential, Issued, fingerprint, random};
use crate::error::{Error, Kind, Result};
use crate::names::{Name, Noun, hex};
use crate::store::sessions::{self, Session};
use crate::store::{Read, now};

/// How long a browser stays signed in, in seconds.
const SESSION_SECONDS: i64 = 12 * 3600;

/// A signed-in browser.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The cookie's value.
    pub cookie: String,
    /// How long it holds, in seconds.
    pub seconds: i64,
}

impl Service {
    /// Checks a password. A wrong one, an unknown user and a disabled one are told alike and take alike.
    fn check_password(&self, name: &str, password: &str, address: IpAddr) -> Result<Arc<Principal>> {
        // What is no name is nobody's, and one key for all of it keeps the memory of guesses small.
        let named = Name::parse(name).map_or_else(|_| "-".to_owned(), |name| name.as_str().to_ascii_lowercase());
        let network = match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            // One household has a whole /64 of addresses.
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        };
        let keys = [format!("user {named}"), format!("address {network}")];
        let place = self.passwords.place(&named)?;
        self.throttle.attempt(&keys, Instant::now())?;
        let user = self.snapshot.load().directory.find(Noun::User, name).cloned();
        let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
        match user {
            Some(ref found) if place.check(password, hash) && !found.disabled => {
                self.throttle.forgive(&keys);
                Ok(found.clone())
            }
            None if place.check(password, None) => Err(wrong()),
            _ => {
                tracing::info!(target: "rookery::audit", user = name, %address, "a sign-in failed");
                Err(wrong())
            }
        }
    }

    /// A token for whoever knows the password. Blocks for the time of a password check.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`]; [`Kind::Throttled`] after too many wrong ones; [`Kind::Unavailable`] when too many are checked.
    pub fn log_in(&self, name: &str, password: &str, address: IpAddr) -> Result<Issued> {
        let user = self.check_password(name, password, address)?;
        self.tokens.issue(&user, now(), self.options.token_seconds)
    }

    /// Ends the token the caller showed.
    ///
    /// # Errors
    /// [`Kind::Validation`] when it was no token.
    pub fn log_out(&self, caller: &Caller) -> Result<()> {
        let Credential::Token { id, expires_at } = caller.credential() else {
            return Err(Error::invalid("only a token from POST /api/v1/login is ended by signing out; delete a key instead"));
        };
        let permit = self.authorise_self(caller)?;
        self.change(&permit, caller, "rookery:LogOut", &caller.principal().arn, |tx| sessions::revoke(tx, id, *expires_at))
    }

    /// Everyone may end what is their own.
    fn authorise_self(&self, caller: &Caller) -> Result<crate::policy::Permit> {
        let own = Caller::file(&self.snapshot.load().directory);
        self.authorise(&own, "rookery:LogOut", &caller.principal().arn, |_| ())
    }

    /// Signs a browser in. Blocks for the time of a password check.
    ///
    /// # Errors
    /// As [`Service::log_in`].
    pub fn sign_in(&self, name: &str, password: &str, address: IpAddr) -> Result<SignedIn> {
        let user = self.check_password(name, password, address)?;
        let cookie = hex(&random::<32>()?);
        let session =
            Session { user: user.row, generation: user.generation, csrf: hex(&random::<16>()?), expires_at: now() + SESSION_SECONDS };
        // The user may have been changed or deleted while the password was checked.
        if !self.store.housekeeping(|tx| sessions::create(tx, fingerprint(&cookie), &session))? {
            return Err(wrong());
        }
        Ok(SignedIn { cookie, seconds: SESSION_SECONDS })
    }

    /// The session behind a cookie, whether or not it still holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn session(&self, cookie: &str) -> Result<Option<Session>> {
        self.store.snapshot(|read: &Read<'_>| sessions::find(read, fingerprint(cookie)))
    }

    /// Ends the session behind a cookie.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sign_out(&self, cookie: &str) -> Result<()> {
        self.store.housekeeping(|tx| sessions::delete(tx, fingerprint(cookie)))
    }

    /// Makes the first administrator of a database that has no user.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when there is a user already; malformed.
    pub fn claim(&self, name: &str, password: &str) -> Result<()> {
        // One at a time, so that a link used twice at once makes one administrator.
        let _turn = self.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_unclaimed() {
            return Err(Error::new(Kind::Conflict, "this server has its administrator already; sign in"));
        }
        let new = NewOne { password: Some(password), administrator: true, ..NewOne::default() };
        self.create_principal(&self.file_caller(), Noun::User, name, &new).map(drop)
    }
}

fn wrong() -> Error {
    Error::new(Kind::Unauthenticated, "the user name or the password is wrong")
}
