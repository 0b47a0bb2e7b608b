//! Bodies under their caps: how long, how slow, and how much memory all of them together.
//!
//! A body that came with its head is handed on as it is. One that comes in pieces is copied together, counts against the
//! memory that all such bodies share until its answer is made, and has to keep a pace: nobody holds memory for long by
//! sending a byte now and then. Next: `sent.rs`, the same for answers; `native/models.rs` (uploads, which are not held whole).

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::dev::RequestHead;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use super::State;
use crate::error::{Error, Kind, Result};

/// The body of a sign-in: a name and a password.
const SHORT: usize = 16 << 10;
/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pace that bodies and long answers keep apart from their pauses, in bytes a second.
pub(super) const PACE: u64 = 8 << 10;

/// A body as it comes, whoever handed it over.
pub(super) trait Pieces: Stream<Item = std::result::Result<Bytes, PayloadError>> + Unpin {}

impl<T: Stream<Item = std::result::Result<Bytes, PayloadError>> + Unpin> Pieces for T {}

/// Memory that all who are under way share, in one direction.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    taken: AtomicUsize,
    /// What is said when there is no more.
    full: &'static str,
}

impl Room {
    /// For bodies that come in pieces.
    pub(super) fn of_bodies(most: usize) -> Arc<Self> {
        let full = "the server receives as many large bodies as it has memory for; try again in a second";
        Arc::new(Self { most, taken: AtomicUsize::new(0), full })
    }

    /// For long answers.
    pub(super) fn of_answers(most: usize) -> Arc<Self> {
        let full =
            "the server holds as many long answers as it has memory for, which their callers have not read yet; try again in a second";
        Arc::new(Self { most, taken: AtomicUsize::new(0), full })
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A share of it, of `bytes` at first.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when there is no more.
    pub(super) fn share(self: &Arc<Self>, bytes: usize) -> Result<Share> {
        let mut share = Share { room: self.clone(), bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }
}

/// What one takes of the room; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Share {
    /// Makes it `bytes` if it is less.
    ///
    /// # Errors
    /// As [`Room::share`].
    pub(super) fn reach(&mut self, bytes: usize) -> Result<()> {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes;
        // Taken first and given back by the drop of a refused one: of two at once both may be refused, never too much taken.
        if self.room.taken.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.room.most {
            return Ok(());
        }
        Err(Error::new(Kind::Unavailable, self.room.full))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How fast something comes or is taken: at [`PACE`], with pauses. What pauses have used up of `idle` is given back by
/// going faster than that, so nobody is quick at first and slow for hours.
#[derive(Debug)]
pub(super) struct Pace {
    /// Until when nothing need be done.
    due: Instant,
    idle: Duration,
}

impl Pace {
    /// Of what begins now and may pause for `idle`.
    pub(super) fn new(idle: Duration) -> Self {
        Self { due: Instant::now() + idle, idle }
    }

    /// Until when the next `bytes` have to be done.
    pub(super) fn due(&self, bytes: usize) -> Instant {
        self.due + Duration::from_millis((bytes as u64).saturating_mul(1000) / PACE)
    }

    /// Counts the next `bytes`, which are done now; whether in time.
    pub(super) fn count(&mut self, bytes: usize) -> bool {
        let (now, due) = (Instant::now(), self.due(bytes));
        self.due = due.min(now + self.idle);
        now <= due
    }

    /// Counts `bytes` of a body that came.
    ///
    /// # Errors
    /// When it comes too slowly.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<()> {
        if self.count(bytes) {
            return Ok(());
        }
        Err(Error::invalid(format!("the body comes more slowly than {PACE} bytes a second; send it again over a faster connection")))
    }

    /// Of what should have been done so long ago.
    #[cfg(test)]
    pub(super) fn late(by: Duration) -> Self {
        Self { due: Instant::now().checked_sub(by).unwrap(), idle: Duration::ZERO }
    }
}

/// A whole body, and the memory it counts for.
#[derive(Debug)]
pub(super) struct Body {
    /// It.
    pub(super) bytes: Bytes,
    _share: Option<Share>,
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, _share: None }
    }
}

/// What a whole body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    /// Bytes.
    pub(super) most: usize,
    /// Where it is held.
    pub(super) room: &'a Arc<Room>,
    /// The longest pause between two pieces.
    pub(super) idle: Duration,
}

/// The whole body within `limits`. `may_wait` is asked before any of it is waited for and held.
///
/// # Errors
/// [`Kind::TooLarge`]; [`Kind::Validation`] when it breaks off, pauses or takes too long; [`Kind::Unavailable`] when all
/// bodies together take too much memory; what `may_wait` returns.
pub(super) async fn whole(
    head: &RequestHead,
    payload: &mut impl Pieces,
    limits: Limits<'_>,
    may_wait: impl FnOnce() -> Result<()>,
) -> Result<Body> {
    let Limits { most: limit, room, idle } = limits;
    let too_large = || Error::new(Kind::TooLarge, format!("the body is larger than {limit} bytes; send less at once"));
    let announced = head.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let Some(first) = next(payload, idle).await? else { return Ok(Bytes::new().into()) };
    // The usual body comes in one piece and is not copied.
    if announced == Some(first.len()) {
        return Ok(first.into());
    }
    may_wait()?;
    let (mut pace, mut share) = (Pace::new(idle), room.share(first.len())?);
    pace.keep(first.len())?;
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(first.len()).min(limit));
    whole.extend_from_slice(&first);
    drop(first);
    while whole.len() <= limit {
        match next(payload, idle).await? {
            Some(piece) => {
                share.grow(piece.len())?;
                pace.keep(piece.len())?;
                whole.extend_from_slice(&piece);
            }
            None => return Ok(Body { bytes: whole.freeze(), _share: Some(share) }),
        }
    }
    Err(too_large())
}

/// A short body of someone who is not known yet: all of it within [`PATIENCE`].
///
/// # Errors
/// As [`whole`].
pub(super) async fn short(head: &RequestHead, payload: &mut impl Pieces, state: &State) -> Result<Body> {
    match tokio::time::timeout(PATIENCE, whole(head, payload, state.documents(SHORT), || Ok(()))).await {
        Ok(body) => body,
        Err(_) => Err(Error::invalid(format!("the body did not come within {} seconds; send it again", PATIENCE.as_secs()))),
    }
}

/// The next piece of a body, waited for no longer than `idle`.
///
/// # Errors
/// When it breaks off or pauses too long.
pub(super) async fn next(payload: &mut impl Pieces, idle: Duration) -> Result<Option<Bytes>> {
    // What came with the head is there after one more turn of the connection, and needs no timer.
    let mut turned = false;
    let arrived = poll_fn(|context| match payload.poll_next_unpin(context) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending if turned => Poll::Ready(None),
        Poll::Pending => {
            turned = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    let piece = match arrived.await {
        Some(piece) => Ok(piece),
        None => tokio::time::timeout(idle, payload.next()).await,
    };
    match piece {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => {
            Err(Error::invalid("the body broke off before its end; send it again").because(BrokenOff(error.to_string())))
        }
        Err(_) => Err(Error::invalid(format!("the body paused for more than {} seconds; send it again", idle.as_secs()))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BrokenOff(String);
