//! Ends what takes onnxruntime too long: a graph may hold a loop without end, and its steps are not ours to count.
//!
//! One thread looks a few times a second at what is under way. Knows no graph. Next: `session.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ort::session::RunOptions;
use ort::session::builder::LoadCanceler;

use crate::error::{Error, Result};

/// What is under way and until when it may be. As global as onnxruntime itself.
static UNDER_WAY: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

const PAUSE: Duration = Duration::from_millis(200);

/// How something is ended.
pub(super) enum Stop {
    Load(LoadCanceler),
    Run(Arc<RunOptions>),
}

struct Watched {
    number: u64,
    end: Instant,
    stop: Stop,
}

/// Something under way, until it is dropped.
pub(super) struct Guard {
    number: u64,
    end: Instant,
}

fn under_way() -> MutexGuard<'static, Vec<Watched>> {
    // Nothing panics with it held.
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that looks.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start() -> Result<()> {
    let look = || loop {
        std::thread::sleep(PAUSE);
        let now = Instant::now();
        for watched in under_way().iter().filter(|watched| watched.end <= now) {
            let stopped = match &watched.stop {
                Stop::Load(canceler) => canceler.cancel(),
                Stop::Run(options) => options.terminate(),
            };
            if let Err(error) = stopped {
                tracing::warn!(%error, "onnxruntime could not be stopped");
            }
        }
    };
    std::thread::Builder::new().name("onnxruntime-watch".to_owned()).spawn(look).map_err(Error::internal)?;
    Ok(())
}

/// Has something ended after `time`, unless the guard is dropped before.
pub(super) fn until(time: Duration, stop: Stop) -> Guard {
    let end = Instant::now() + time;
    let mut list = under_way();
    let number = list.last().map_or(0, |last| last.number + 1);
    list.push(Watched { number, end, stop });
    Guard { number, end }
}

impl Guard {
    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        under_way().retain(|watched| watched.number != self.number);
    }
}
