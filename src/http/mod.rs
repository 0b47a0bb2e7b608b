//! The server: sockets, workers, limits, shutdown. Parsing and replying is in the files of the dialects.
//!
//! `routes.rs` is the one table of all routes; `front.rs` lets predictions past it; `caller.rs` says who asks, `body.rs`
//! reads what they send, `sent.rs` sees to what is sent to them, `connection.rs` ends what neither comes nor goes; `reply.rs` turns results and errors into each dialect. A
//! handler parses, calls one verb of the service, replies. Next: `routes.rs`.

mod body;
mod caller;
mod connection;
mod front;
mod native;
mod ops;
mod reference;
mod reply;
pub mod routes;
mod runtime;
mod sent;
mod ui;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};

use self::body::{Limits, Room};
use crate::config::Listen;
use crate::error::{Error, Kind, Result};
use crate::names::hex;
use crate::policy::Block;
use crate::service::Service;

/// How long a stop waits for requests under way, in seconds.
const DRAIN: u64 = 30;
/// The least memory that bodies other than rows and models have together.
const DOCUMENTS: usize = 8 << 20;

/// What handlers share.
#[derive(Debug)]
pub(crate) struct State {
    service: Arc<Service>,
    /// The longest body, uploads apart.
    body: usize,
    /// A body may pause this long between two pieces.
    idle: Duration,
    secure: bool,
    /// Memory for predictions and uploads that come in pieces, and as much again for long answers.
    room: Arc<Room>,
    answers: Arc<Room>,
    /// Memory for all other bodies that come in pieces, which may be those of anybody: they leave predictions theirs.
    documents: Arc<Room>,
    /// Whose forwarding headers are believed.
    proxies: Vec<Block>,
    /// Opens the page that makes the first administrator; only while there is no user.
    setup: String,
}

impl State {
    /// What a body that is neither rows nor a model may take.
    fn documents(&self, most: usize) -> Limits<'_> {
        Limits { most, room: &self.documents, idle: self.idle }
    }
}

/// A server that is listening. It runs while it is awaited.
pub struct Running {
    /// Where it listens; the port is real even if 0 was asked for.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The path of the page that makes the first administrator, while there is none.
    pub setup: Option<String>,
    handle: ServerHandle,
    server: Server,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

impl Running {
    /// Stops it from elsewhere.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until it is stopped; SIGTERM drains.
    ///
    /// # Errors
    /// When a socket fails.
    pub async fn run(self) -> Result<()> {
        self.server.await.map_err(Error::internal)
    }
}

/// Binds and starts serving `service`.
///
/// # Errors
/// When the address is taken or the TLS files cannot be read.
pub fn start(service: Arc<Service>, listen: &Listen) -> Result<Running> {
    let setup = hex(&crate::authn::random::<16>()?);
    let unclaimed = service.is_unclaimed();
    let state = web::Data::new(State {
        service,
        body: listen.body,
        idle: listen.idle,
        secure: listen.tls.is_some(),
        room: Room::of_bodies(listen.body_memory),
        answers: Room::of_answers(listen.body_memory),
        documents: Room::of_bodies((listen.body_memory / 8).max(DOCUMENTS)),
        proxies: listen.proxies.clone(),
        setup: setup.clone(),
    });
    let build = move || {
        let queries = web::QueryConfig::default().error_handler(ui::bad_query);
        front::before(App::new().app_data(state.clone()).app_data(queries).configure(routes::configure), state.clone())
    };
    connection::allow_many();
    // Between two requests: the rest of an answer is read, then nothing happens, then a head comes.
    let quiet = sent::TAIL + listen.keep_alive + listen.header_time;
    let server = HttpServer::new(build)
        .workers(listen.workers)
        .client_request_timeout(listen.header_time)
        // Whoever closes is gone: what they asked for must hold up nobody.
        .h1_allow_half_closed(false)
        // Whoever is refused in the middle of a body has time to send the rest and read why.
        .client_disconnect_timeout(listen.idle)
        .keep_alive(listen.keep_alive)
        .on_connect(move |stream, data| connection::accepted(stream, data, quiet))
        .shutdown_timeout(DRAIN)
        .server_hostname("rookery");
    let cannot = |error: std::io::Error| {
        Error::new(Kind::Unavailable, format!("cannot listen on {}: {error}; choose another with --listen", listen.address)).because(error)
    };
    let socket = sent::listener(listen.address, listen.idle).map_err(cannot)?;
    let (server, scheme) = match &listen.tls {
        None => (server.listen(socket).map_err(cannot)?, "http"),
        Some((certificate, key)) => (server.listen_rustls_0_23(socket, tls(certificate, key)?).map_err(cannot)?, "https"),
    };
    let address = server.addrs().first().copied().unwrap_or(listen.address);
    let server = server.run();
    Ok(Running { address, scheme, setup: unclaimed.then(|| format!("/ui/setup?token={setup}")), handle: server.handle(), server })
}

fn tls(certificate: &std::path::Path, key: &std::path::Path) -> Result<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let bad = |path: &std::path::Path| Error::invalid(format!("`{}` is no PEM file of the kind asked for", path.display()));
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(|error| bad(certificate).because(error))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key).because(error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(Error::internal)?;
    builder.with_no_client_auth().with_single_cert(chain, key_der).map_err(|error| {
        Error::invalid("the certificate and the private key do not belong together; check --tls-cert and --tls-key").because(error)
    })
}
