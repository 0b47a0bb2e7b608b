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
