//! Connections, and which of them are given up: those on which nothing whole comes or goes any more.
//!
//! The library below times the first request's head, and the pause between a whole answer and the first byte of what
//! follows. Whoever sends that byte and no more, or a body that nobody reads, would stay for ever. So each connection has
//! a watch, which ends it when no request was begun or answered for longer than any of that may take. Requests under way
//! are [`Busy`], and long answers until they are sent: those have times of their own in `body.rs` and `sent.rs`. Next:
//! `front.rs`, where requests begin.

use std::any::Any;
use std::cell::Cell;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use actix_http::Extensions;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use rustix::net::Shutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;

/// What is known of an open connection.
#[derive(Debug)]
struct Connection {
    /// Requests under way and answers on their way out.
    busy: Cell<usize>,
    /// How often either began or ended.
    turns: Cell<u64>,
    /// The connection once more, to end it by: the library owns the other.
    socket: OwnedFd,
}

impl Connection {
    fn turn(&self, busy: usize) {
        self.busy.set(busy);
        self.turns.set(self.turns.get().wrapping_add(1));
    }
}

/// A connection as the library keeps it: gone with it.
pub(super) struct Watched {
    connection: Rc<Connection>,
    watch: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Begins to watch what was just accepted; `quiet` is how long nothing may happen.
pub(super) fn accepted(stream: &dyn Any, data: &mut Extensions, quiet: Duration) {
    let plain = stream.downcast_ref::<TcpStream>();
    let stream = plain.or_else(|| stream.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
    // Without a handle left for it, it is served all the same.
    let Some(Ok(socket)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) else { return };
    let connection = Rc::new(Connection { busy: Cell::new(0), turns: Cell::new(0), socket });
    let watch = tokio::task::spawn_local(watch(Rc::downgrade(&connection), quiet));
    data.insert(Watched { connection, watch });
}

/// Looks in a `quiet` time, which bounds how much longer than that a connection may stay.
const LOOKS: u32 = 4;

/// Ends a connection that was not busy and made no turn for `quiet`.
async fn watch(connection: Weak<Connection>, quiet: Duration) {
    let (mut before, mut same) = (None, 0);
    loop {
        tokio::time::sleep(quiet / LOOKS).await;
        let Some(connection) = connection.upgrade() else { return };
        let now = Some(connection.turns.get());
        same = if connection.busy.get() == 0 && now == before { same + 1 } else { 0 };
        if same >= LOOKS {
            // One that is gone already needs no end.
            let _ = rustix::net::shutdown(&connection.socket, Shutdown::Both);
            return;
        }
        before = now;
    }
}

/// Keeps a connection from being given up.
#[derive(Debug)]
pub(super) struct Busy(Rc<Connection>);

impl Busy {
    /// For a request on a connection, if that is watched.
    pub(super) fn of(watched: Option<&Watched>) -> Option<Self> {
        watched.map(|watched| Self::new(&watched.connection))
    }

    fn new(connection: &Rc<Connection>) -> Self {
        connection.turn(connection.busy.get() + 1);
        Self(connection.clone())
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.turn(self.0.busy.get().saturating_sub(1));
    }
}

/// Lets this process have as many files open as it may: a connection takes two, and what is common is a limit of 1,024
/// that is there for programs of another time.
pub(super) fn allow_many() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some() && current != maximum {
        // It goes on with fewer.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
