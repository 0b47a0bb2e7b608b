//! Answers on their way out: how much memory those hold that are not read yet, and how slowly they may be read.
//!
//! A few bytes sent can ask for megabytes of answer, and whoever does not read theirs leaves them here. So a long answer
//! counts against the memory that all long answers share until its last piece is handed to the connection. Connections ask
//! for a piece when the one before is gone, which a caller can put off for hours; so each answer has a watch of its own,
//! which lets go of what is left when the next piece is not asked for in time. What the system has of it by then, it ends
//! as [`listener`] tells it to, and it takes little. Next: `body.rs`, the same for what comes in.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Response;
use actix_web::web::Bytes;
use tokio::task::JoinHandle;

use super::body::{PACE, Pace, Room, Share};
use super::connection::Busy;
use super::reply;
use crate::error::{Error, Kind, Result};

/// What is not longer goes to the connection at once, which holds as much for every request.
const SHORT: usize = 64 << 10;
/// Connections that wait to be taken up.
const BACKLOG: i32 = 2048;
/// What the system holds of an answer that is not taken yet, in bytes. It asks for more when a third of that is gone, so
/// with megabytes, as it has by itself, a reader would have to be much faster than [`PACE`] to be asked in time.
const BUFFER: usize = 192 << 10;
/// How long what is handed on may take to be read: a piece, and what the system holds, which is twice what it was told to.
pub(super) const TAIL: Duration = Duration::from_secs((SHORT + 2 * BUFFER) as u64 / PACE);

/// An answer until all of it is handed on or it is let go.
struct Kept {
    answer: Bytes,
    pace: Pace,
    _share: Share,
    _busy: Option<Busy>,
}

/// A long answer as it goes, piece by piece.
struct Sent {
    length: usize,
    gone: usize,
    kept: Rc<RefCell<Option<Kept>>>,
    watch: JoinHandle<()>,
}

impl Sent {
    fn new(answer: Bytes, share: Share, pace: Pace, busy: Option<Busy>) -> Self {
        let length = answer.len();
        let kept = Rc::new(RefCell::new(Some(Kept { answer, pace, _share: share, _busy: busy })));
        let watch = tokio::task::spawn_local(watch(Rc::downgrade(&kept)));
        Self { length, gone: 0, kept, watch }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Lets go of an answer whose next piece is not asked for in time.
async fn watch(kept: Weak<RefCell<Option<Kept>>>) {
    loop {
        let due = match kept.upgrade().as_deref().map(RefCell::borrow).as_deref() {
            Some(Some(kept)) => kept.pace.due(SHORT),
            _ => return,
        };
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        } else if let Some(kept) = kept.upgrade() {
            kept.take();
        }
    }
}

impl MessageBody for Sent {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.gone == self.length {
            return Poll::Ready(None);
        }
        let end = self.length.min(self.gone + SHORT);
        // A piece is copied, so that it keeps no more than itself in memory wherever it waits.
        let piece = |kept: &mut Kept| {
            let timely = kept.pace.count(end - self.gone);
            kept.answer.get(self.gone..end).filter(|_| timely).map(Bytes::copy_from_slice)
        };
        let piece = self.kept.borrow_mut().as_mut().and_then(piece);
        let Some(piece) = piece else {
            let text = format!("the answer is read more slowly than {PACE} bytes a second and was broken off; ask for fewer rows");
            return Poll::Ready(Some(Err(Error::new(Kind::Unavailable, text))));
        };
        self.gone = end;
        if end == self.length {
            self.kept.take();
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

/// `answer` as a body that is not read more slowly than bodies may come, after a pause of `idle` at most, and keeps its
/// connection `busy` until then. To be called where requests are handled.
///
/// # Errors
/// [`Kind::Unavailable`] when the answers that are not read yet take all of `room`, [`Kind::TooLarge`] when this one
/// would take more than that alone.
pub(super) fn body(answer: impl Into<Bytes>, room: &Arc<Room>, idle: Duration, busy: Option<Busy>) -> Result<BoxBody> {
    let answer = answer.into();
    if answer.len() <= SHORT {
        return Ok(BoxBody::new(answer));
    }
    if answer.len() > room.most() {
        let text = format!("the answer of {} bytes is larger than this server has memory for; send fewer rows", answer.len());
        return Err(Error::new(Kind::TooLarge, text));
    }
    let share = room.share(answer.len())?;
    Ok(BoxBody::new(Sent::new(answer, share, Pace::new(idle), busy)))
}

/// What any handler answered, its body as [`body`] has it if it is long.
pub(super) fn held(response: Response<BoxBody>, room: &Arc<Room>, idle: Duration, busy: Option<Busy>) -> Response<BoxBody> {
    let is_long = matches!(response.body().size(), BodySize::Sized(length) if length > SHORT as u64);
    if !is_long {
        return response;
    }
    let mut refused = None;
    let response = response.map_body(|_, whole| match whole.try_into_bytes() {
        Ok(answer) => body(answer, room, idle, busy).unwrap_or_else(|error| {
            refused = Some(error);
            BoxBody::new(())
        }),
        Err(piecemeal) => piecemeal,
    });
    refused.map_or(response, |error| reply::error(&error).into())
}

/// A socket at `address` whose connections end when what was sent is not taken for `idle`.
pub(super) fn listener(address: SocketAddr, idle: Duration) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::sockopt::set_socket_send_buffer_size(&listener, BUFFER)?;
    // Accepted connections have their listener's options.
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(&listener, u32::try_from(idle.as_millis()).unwrap_or(u32::MAX))?;
    #[cfg(not(target_os = "linux"))]
    let _ = idle;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn sent(bytes: usize, room: &Arc<Room>, pace: Pace) -> Sent {
        Sent::new(vec![b'1'; bytes].into(), room.share(bytes).unwrap(), pace, None)
    }

    async fn piece(answer: &mut Sent) -> Option<Result<usize>> {
        poll_fn(|context| Pin::new(&mut *answer).poll_next(context)).await.map(|piece| piece.map(|piece| piece.len()))
    }

    #[actix_web::test]
    async fn an_answer_goes_piece_by_piece_and_gives_its_room_back_with_the_last() {
        let room = Room::of_answers(1 << 20);
        let mut answer = sent(2 * SHORT + 1, &room, Pace::new(Duration::from_secs(60)));
        for length in [SHORT, SHORT, 1] {
            assert!(room.share(1 << 20).is_err());
            assert_eq!(piece(&mut answer).await.unwrap().unwrap(), length);
        }
        assert!(room.share(1 << 20).is_ok());
        assert!(piece(&mut answer).await.is_none());
    }

    #[actix_web::test]
    async fn an_answer_that_is_taken_too_slowly_is_broken_off() {
        let room = Room::of_answers(1 << 20);
        // A piece may take eight seconds.
        let mut answer = sent(3 * SHORT, &room, Pace::late(Duration::from_secs(4)));
        assert_eq!(piece(&mut answer).await.unwrap().unwrap(), SHORT);
        let mut answer = sent(3 * SHORT, &room, Pace::late(Duration::from_secs(9)));
        assert!(piece(&mut answer).await.unwrap().unwrap_err().message().contains("more slowly than 8192 bytes a second"));
    }

    #[actix_web::test]
    async fn an_answer_that_is_not_asked_for_is_let_go_without_being_asked() {
        let room = Room::of_answers(1 << 20);
        let timely = sent(SHORT + 1, &room, Pace::late(Duration::from_secs(4)));
        let mut late = sent(SHORT + 1, &room, Pace::late(Duration::from_secs(9)));
        tokio::task::yield_now().await;
        assert!(timely.kept.borrow().is_some() && late.kept.borrow().is_none());
        assert!(room.share((1 << 20) - SHORT - 1).is_ok());
        assert!(piece(&mut late).await.unwrap().is_err());
    }

    #[actix_web::test]
    async fn long_answers_share_their_room_and_short_ones_need_none() {
        let room = Room::of_answers(300_000);
        let idle = Duration::from_secs(1);
        let held = body(vec![0; 200_000], &room, idle, None).unwrap();
        assert_eq!(body(vec![0; 200_000], &room, idle, None).map(drop).unwrap_err().kind(), Kind::Unavailable);
        assert!(body(vec![0; SHORT], &room, idle, None).is_ok());
        assert_eq!(body(vec![0; 300_001], &room, idle, None).map(drop).unwrap_err().kind(), Kind::TooLarge);
        drop(held);
        assert!(body(vec![0; 200_000], &room, idle, None).is_ok());
    }
}
