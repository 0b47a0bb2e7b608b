//! Answers on their way out: how much memory those hold that are not read yet, and how slowly they may be read.
//!
//! A few bytes sent can ask for megabytes of answer, and whoever does not read theirs leaves them here. So a long answer
//! counts against the memory that all long answers share until its last piece is handed to the connection, and has to be
//! read at a pace. One that is not read at all is never asked for a piece: the system ends such a connection, as
//! [`listener`] tells it to. Next: `body.rs`, the same for what comes in.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

use super::body::{Pace, Room, Share};
use crate::error::{Error, Kind, Result};

/// What is not longer goes to the connection at once, which holds as much for every request.
const SHORT: usize = 64 << 10;
/// Connections that wait to be taken up.
const BACKLOG: i32 = 2048;

struct Sent {
    rest: Bytes,
    pace: Pace,
    _share: Share,
}

impl MessageBody for Sent {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let count = self.rest.len().min(SHORT);
        if count == 0 {
            return Poll::Ready(None);
        }
        if let Err(error) = self.pace.keep(count) {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(Some(Ok(self.rest.split_to(count))))
    }
}

/// `answer` as a body that is not read more slowly than bodies may come, after a pause of `idle` at most.
///
/// # Errors
/// [`Kind::Unavailable`] when the answers that are not read yet take all of `room`, [`Kind::TooLarge`] when this one
/// would take more than that alone.
pub(super) fn body(answer: Vec<u8>, room: &Arc<Room>, idle: Duration) -> Result<BoxBody> {
    if answer.len() <= SHORT {
        return Ok(BoxBody::new(answer));
    }
    if answer.len() > room.most() {
        let text = format!("the answer of {} bytes is larger than this server has memory for; send fewer rows", answer.len());
        return Err(Error::new(Kind::TooLarge, text));
    }
    let share = room.share(answer.len())?;
    Ok(BoxBody::new(Sent { rest: answer.into(), pace: Pace::new(idle), _share: share }))
}

/// A socket at `address` whose connections end when what was sent is not taken for `idle`.
pub(super) fn listener(address: SocketAddr, idle: Duration) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
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
    use std::task::Waker;
    use std::time::Instant;

    use super::*;

    fn sent(bytes: usize, ago: u64, room: &Arc<Room>) -> Sent {
        let began = Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
        let pace = Pace::since(began, Duration::from_secs(1));
        Sent { rest: vec![b'1'; bytes].into(), pace, _share: room.share(bytes).unwrap() }
    }

    #[test]
    fn an_answer_goes_piece_by_piece_and_is_broken_off_when_it_is_taken_too_slowly() {
        let room = Room::of_answers(1 << 20);
        let mut context = Context::from_waker(Waker::noop());
        let mut pieces = |mut answer: Sent| {
            let mut lengths = Vec::new();
            loop {
                match Pin::new(&mut answer).poll_next(&mut context) {
                    Poll::Ready(Some(Ok(piece))) => lengths.push(piece.len()),
                    Poll::Ready(Some(Err(_))) => return (lengths, false),
                    _ => return (lengths, true),
                }
            }
        };
        assert_eq!(pieces(sent(2 * SHORT + 1, 0, &room)), (vec![SHORT, SHORT, 1], true));
        // In 20 seconds about 160 KiB have to be taken, and a second is given.
        assert_eq!(pieces(sent(4 * SHORT, 20, &room)), (vec![], false));
        assert_eq!(pieces(sent(4 * SHORT, 8, &room)), (vec![SHORT; 4], true));
        // All of it was given back.
        assert!(body(vec![0; 1 << 20], &room, Duration::ZERO).is_ok());
    }

    #[test]
    fn long_answers_share_their_room_and_short_ones_need_none() {
        let room = Room::of_answers(300_000);
        let idle = Duration::from_secs(1);
        let held = body(vec![0; 200_000], &room, idle).unwrap();
        assert_eq!(body(vec![0; 200_000], &room, idle).map(drop).unwrap_err().kind(), Kind::Unavailable);
        assert!(body(vec![0; SHORT], &room, idle).is_ok());
        assert_eq!(body(vec![0; 300_001], &room, idle).map(drop).unwrap_err().kind(), Kind::TooLarge);
        drop(held);
        assert!(body(vec![0; 200_000], &room, idle).is_ok());
    }
}
