//! Turns at the processor for predictions that take long.
//!
//! One principal has as many at once as there are cores, and all together twice as many: whoever asks for minutes of work
//! leaves room for the others, and the system shares the cores among who runs. Nobody waits longer than a client would.
//! Knows nothing of what is done in a turn. Next: `invoke.rs`, which asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Kind, Result};

/// As long as SageMaker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Principals that are remembered before those without a turn are forgotten.
const KEPT: usize = 1024;

/// Who has how many turns.
#[derive(Debug)]
pub(super) struct Turns {
    each: usize,
    patience: Duration,
    all: Arc<Semaphore>,
    own: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A turn; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    /// For so many cores.
    pub(super) fn new(cores: usize) -> Self {
        Self { each: cores, patience: PATIENCE, all: Arc::new(Semaphore::new(2 * cores)), own: Mutex::default() }
    }

    /// A turn of the principal with this ARN, when there is one.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when there was none for a minute.
    pub(super) async fn turn(&self, arn: &str) -> Result<Turn> {
        let own = self.own(arn);
        let both = async {
            let own = own.acquire_owned().await.map_err(Error::internal)?;
            let of_all = self.all.clone().acquire_owned().await.map_err(Error::internal)?;
            Ok(Turn { _own: own, _of_all: of_all })
        };
        let late =
            || Error::new(Kind::Unavailable, "long predictions before this one took all the time there is; try again, or send fewer rows");
        tokio::time::timeout(self.patience, both).await.map_err(|_| late())?
    }

    fn own(&self, arn: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = own.get(arn).and_then(Weak::upgrade) {
            return found;
        }
        if own.len() >= KEPT {
            own.retain(|_, one| one.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(self.each));
        own.insert(arn.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn one_principal_leaves_turns_for_another() {
        let turns = Turns::new(2);
        let held = [turns.turn("a").await.unwrap(), turns.turn("a").await.unwrap()];
        assert!(tokio::time::timeout(Duration::from_millis(20), turns.turn("a")).await.is_err());
        let other = turns.turn("b").await.unwrap();
        drop(held);
        turns.turn("a").await.unwrap();
        drop(other);
        assert_eq!(turns.all.available_permits(), 4);
        assert!(turns.own.lock().unwrap().values().all(|one| one.strong_count() == 0));
    }

    #[actix_web::test]
    async fn nobody_waits_for_ever() {
        let turns = Turns { patience: Duration::from_millis(20), ..Turns::new(1) };
        let _held = turns.turn("a").await.unwrap();
        assert_eq!(turns.turn("a").await.unwrap_err().kind(), Kind::Unavailable);
    }
}
