//! Passwords: argon2id hashing and checking, a few at a time.
//!
//! An unknown user costs the same time as a wrong password. Next: `throttle.rs`.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};

use crate::error::{Error, Kind, Result};

/// Longer ones are refused before hashing.
const LENGTH_MAX: usize = 1024;
const LENGTH_MIN: usize = 8;
/// Each takes 19 MiB and a core for tens of milliseconds.
const AT_ONCE: usize = 4;
/// Of these, for one name: who knows a password has no right to all of them.
const AT_ONCE_EACH: usize = 2;

/// Checks and hashes passwords.
#[derive(Debug)]
pub struct Passwords {
    /// What an unknown user's password is checked against.
    dummy: String,
    /// For whom each one under way is.
    running: Mutex<Vec<Box<str>>>,
}

fn argon2() -> Result<Argon2<'static>> {
    // OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
    let params = Params::new(19_456, 2, 1, None).map_err(|_| Error::new(Kind::Internal, "argon2 refused its parameters"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Passwords {
    /// A checker.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new() -> Result<Self> {
        Ok(Self { dummy: hash("a password nobody has")?, running: Mutex::default() })
    }

    /// A place among those at once for `name`, taken before a guess is counted: who is refused for load has not guessed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when all are taken, or all that one name may have.
    pub fn place(&self, name: &str) -> Result<Place<'_>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.len() >= AT_ONCE || running.iter().filter(|one| ***one == *name).count() >= AT_ONCE_EACH {
            return Err(Error::new(Kind::Unavailable, "too many passwords are checked at once; try again in a second"));
        }
        running.push(name.into());
        Ok(Place { passwords: self, name: name.into() })
    }
}

/// A place among the passwords that are checked and hashed at once.
#[derive(Debug)]
pub struct Place<'a> {
    passwords: &'a Passwords,
    name: Box<str>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut running = self.passwords.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = running.iter().position(|one| *one == self.name) {
            running.swap_remove(at);
        }
    }
}

impl Place<'_> {
    /// Whether `password` is the one `hash` was made of. Without a hash the same work is done and the answer is no.
    pub fn check(&self, password: &str, hash: Option<&str>) -> bool {
        if password.len() > LENGTH_MAX {
            return false;
        }
        let held = PasswordHash::new(hash.unwrap_or(&self.passwords.dummy));
        let right = held.is_ok_and(|held| argon2().is_ok_and(|argon2| argon2.verify_password(password.as_bytes(), &held).is_ok()));
        right && hash.is_some()
    }
}

/// Hashes a new password to a PHC string.
///
/// # Errors
/// [`Kind::Validation`] when it is too short or too long.
pub fn hash(password: &str) -> Result<String> {
    if password.chars().count() < LENGTH_MIN || password.len() > LENGTH_MAX {
        return Err(Error::invalid(format!("a password has at least {LENGTH_MIN} characters and at most {LENGTH_MAX} bytes")));
    }
    let hash = argon2()?.hash_password(password.as_bytes()).map_err(|_| Error::new(Kind::Internal, "the password could not be hashed"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_recognised() {
        let passwords = Passwords::new().unwrap();
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let place = passwords.place("ana").unwrap();
        assert!(place.check("correct horse", Some(&hash)));
        assert!(!place.check("correct horsf", Some(&hash)));
        assert!(!place.check("a password nobody has", None));
        let another = passwords.place("ana").unwrap();
        assert_eq!(passwords.place("ana").unwrap_err().kind(), Kind::Unavailable);
        let others: Vec<_> = (AT_ONCE_EACH..AT_ONCE).map(|_| passwords.place("ben").unwrap()).collect();
        assert_eq!(passwords.place("eve").unwrap_err().kind(), Kind::Unavailable);
        drop((another, others));
        assert!(passwords.place("ana").is_ok());
        assert!(super::hash("short").is_err());
    }
}
