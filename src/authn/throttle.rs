//! How often one may guess: failures a minute, per user and per address.
//!
//! In memory and bounded. Knows no users. Next: `service/login.rs`, which asks before checking a password.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};

const WINDOW: Duration = Duration::from_secs(60);
/// Names and addresses remembered; beyond that the oldest windows go.
const KEPT: usize = 100_000;

/// Failures by name and address.
#[derive(Debug)]
pub struct Throttle {
    /// Failures in a window before the next attempt is refused unchecked.
    guesses: u32,
    windows: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Throttle {
    /// Allows `guesses` failures a minute.
    pub fn new(guesses: u32) -> Self {
        Self { guesses, windows: Mutex::default() }
    }

    /// Counts an attempt for each of `keys` as failed until [`Throttle::forgive`] says otherwise, so that attempts at
    /// the same moment cannot all slip through.
    ///
    /// # Errors
    /// [`Kind::Throttled`] when one of them has failed too often.
    pub fn attempt(&self, keys: &[String], now: Instant) -> Result<()> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() > KEPT {
            windows.retain(|_, (start, _)| now.duration_since(*start) < WINDOW);
            if windows.len() > KEPT {
                windows.clear();
            }
        }
        for key in keys {
            if let Some((start, count)) = windows.get(key)
                && now.duration_since(*start) < WINDOW
                && *count >= self.guesses
            {
                return Err(Error::new(Kind::Throttled, "too many failed sign-ins; try again in a minute"));
            }
        }
        for key in keys {
            let window = windows.entry(key.clone()).or_insert((now, 0));
            if now.duration_since(window.0) >= WINDOW {
                *window = (now, 0);
            }
            window.1 += 1;
        }
        Ok(())
    }

    /// Takes back the attempt: it succeeded.
    pub fn forgive(&self, keys: &[String]) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(window) = windows.get_mut(key) {
                window.1 = window.1.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_a_minute_are_the_most() {
        let throttle = Throttle::new(10);
        let keys = ["ana".to_owned()];
        let start = Instant::now();
        for _ in 0..20 {
            throttle.attempt(&keys, start).unwrap();
            throttle.forgive(&keys);
        }
        for _ in 0..10 {
            throttle.attempt(&keys, start).unwrap();
        }
        assert_eq!(throttle.attempt(&keys, start).unwrap_err().kind(), Kind::Throttled);
        assert!(throttle.attempt(&["bob".to_owned()], start).is_ok());
        assert!(throttle.attempt(&keys, start + WINDOW).is_ok());
    }
}
