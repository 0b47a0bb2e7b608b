//! `rookery serve`: flags to options, the listening line, draining at the end.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use tracing_subscriber::EnvFilter;

use super::{Database, Onnxruntime, output};
use crate::artifact::Limits;
use crate::config::{self, Listen};
use crate::error::{Error, Kind, Result};
use crate::http;
use crate::names::shown;
use crate::policy::Block;
use crate::service::models::BATCH;
use crate::service::{JSON_DEPTH_MAX, Options, Service};

/// In seconds: what is meant to be longer is a slip.
const DAY: u64 = 86_400;

/// Serve a database.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: Database,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "ROOKERY_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Memory for loaded models, such as 4GiB; half of what there is when not given.
    #[arg(long, env = "ROOKERY_MEMORY")]
    memory: Option<String>,
    #[command(flatten)]
    onnxruntime: Onnxruntime,
    /// PEM file of the certificate chain.
    #[arg(long, env = "ROOKERY_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    #[arg(long, env = "ROOKERY_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS: tokens travel in the clear unless a proxy encrypts them.
    #[arg(long, env = "ROOKERY_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Threads that take requests; as many as cores when not given.
    #[arg(long, env = "ROOKERY_WORKERS")]
    workers: Option<usize>,
    /// Predictions at once; more are answered 503.
    #[arg(long, env = "ROOKERY_CONCURRENCY", default_value_t = 1024)]
    concurrency: usize,
    /// The largest body of a prediction.
    #[arg(long, env = "ROOKERY_BODY", default_value = "6MiB")]
    body: String,
    /// Memory for bodies that come in more than one piece, all together, and as much again for answers that are not read
    /// yet; more are answered 503.
    #[arg(long, env = "ROOKERY_BODY_MEMORY", default_value = "512MiB")]
    body_memory: String,
    /// An address or CIDR block of a proxy whose X-Forwarded-For, -Proto and -Host are believed; may be given several times.
    #[arg(long, env = "ROOKERY_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    trusted_proxy: Vec<String>,
    /// The deepest that objects and lists may nest in the JSON of a prediction, up to 512.
    #[arg(long, env = "ROOKERY_JSON_DEPTH", default_value_t = 64)]
    json_depth: usize,
    /// The largest artifact.
    #[arg(long, env = "ROOKERY_UPLOAD", default_value = "512MiB")]
    upload: String,
    /// The most an artifact may unpack to; 2GiB when not given, or an eighth of the memory there is if that is less.
    #[arg(long, env = "ROOKERY_UNPACKED")]
    unpacked: Option<String>,
    /// The most entries in an archive.
    #[arg(long, env = "ROOKERY_ENTRIES", default_value_t = 10_000)]
    entries: usize,
    /// The longest name of an entry in an archive, in bytes.
    #[arg(long, env = "ROOKERY_ENTRY_NAME", default_value_t = 255)]
    entry_name: usize,
    /// Seconds within which the headers of a request must have come.
    #[arg(long, env = "ROOKERY_HEADER_SECONDS", default_value_t = 10)]
    header_seconds: u64,
    /// Seconds a body may pause between two pieces, and a long answer may not be read.
    #[arg(long, env = "ROOKERY_IDLE_SECONDS", default_value_t = 30)]
    idle_seconds: u64,
    /// Seconds a connection may wait for its next request; longer than a load balancer before it does.
    #[arg(long, env = "ROOKERY_KEEP_ALIVE_SECONDS", default_value_t = 75)]
    keep_alive_seconds: u64,
    /// Failed sign-ins a minute, per user and per address; more are answered 429.
    #[arg(long, env = "ROOKERY_GUESSES", default_value_t = 10)]
    guesses: u32,
    /// Versions kept per model for rollback.
    #[arg(long, env = "ROOKERY_KEEP_VERSIONS", default_value_t = 10)]
    keep_versions: usize,
    /// Seconds a token from a login lives.
    #[arg(long, env = "ROOKERY_TOKEN_SECONDS", default_value_t = 3600)]
    token_seconds: i64,
}

/// Logs to standard error; `RUST_LOG` says what, `ROOKERY_LOG_JSON` how.
pub(super) fn start_log(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Another start in the same process keeps the first one's log.
    let _ = if std::env::var_os("ROOKERY_LOG_JSON").is_some() { log.json().try_init() } else { log.try_init() };
}

/// Tries the address before a database is made: a start that is refused leaves nothing behind.
fn can_listen(address: SocketAddr) -> Result<()> {
    TcpListener::bind(address).map(drop).map_err(|error| {
        Error::new(Kind::Unavailable, format!("cannot listen on {address}: {error}; choose another with --listen")).because(error)
    })
}

impl Serve {
    fn options(&self) -> Result<config::Serve> {
        let memory = self.memory.as_deref().map_or_else(|| Ok(config::half_of_memory()), config::bytes)?;
        let unpacked = self.unpacked.as_deref().map_or_else(|| Ok(config::unpacked()), config::bytes)?;
        let body = usize::try_from(config::bytes(&self.body)?).map_err(Error::internal)?;
        let zero = [
            ("workers", self.workers == Some(0)),
            ("concurrency", self.concurrency == 0),
            ("entry-name", self.entry_name == 0),
            ("header-seconds", self.header_seconds == 0),
            ("idle-seconds", self.idle_seconds == 0),
            ("keep-alive-seconds", self.keep_alive_seconds == 0),
            ("guesses", self.guesses == 0),
            ("keep-versions", self.keep_versions == 0),
            ("token-seconds", self.token_seconds <= 0),
        ];
        if let Some((flag, _)) = zero.iter().find(|(_, zero)| *zero) {
            return Err(Error::invalid(format!("--{flag} is at least 1")));
        }
        let long = [
            ("header-seconds", self.header_seconds, DAY),
            ("idle-seconds", self.idle_seconds, DAY),
            ("keep-alive-seconds", self.keep_alive_seconds, DAY),
            ("token-seconds", self.token_seconds.unsigned_abs(), 366 * DAY),
        ];
        if let Some((flag, _, most)) = long.iter().find(|(_, seconds, most)| seconds > most) {
            return Err(Error::invalid(format!("--{flag} is at most {most}")));
        }
        if !(1..=JSON_DEPTH_MAX).contains(&self.json_depth) {
            return Err(Error::invalid(format!("--json-depth is 1 to {JSON_DEPTH_MAX}")));
        }
        let body_memory = usize::try_from(config::bytes(&self.body_memory)?).map_err(Error::internal)?;
        if body_memory < body.max(BATCH) {
            return Err(Error::invalid("--body-memory must hold one body of --body, and 4MiB of an upload"));
        }
        let proxy = |text: &String| {
            Block::parse(text)
                .ok_or_else(|| Error::invalid(format!("--trusted-proxy `{}` is neither an address nor a CIDR block", shown(text))))
        };
        let proxies = self.trusted_proxy.iter().map(proxy).collect::<Result<_>>()?;
        let listen = Listen {
            body_memory,
            proxies,
            tls: self.tls_cert.clone().zip(self.tls_key.clone()),
            body,
            header_time: Duration::from_secs(self.header_seconds),
            idle: Duration::from_secs(self.idle_seconds),
            keep_alive: Duration::from_secs(self.keep_alive_seconds),
            ..Listen::new(self.listen, self.workers.unwrap_or_else(cores))
        };
        listen.check(self.insecure)?;
        for (flag, path) in [("tls-cert", &self.tls_cert), ("tls-key", &self.tls_key)] {
            let Some(path) = path else { continue };
            File::open(path)
                .map_err(|error| Error::invalid(format!("cannot read `{}`: {error}; check --{flag}", path.display())).because(error))?;
        }
        let service = Options {
            concurrency: self.concurrency,
            upload: config::bytes(&self.upload)?,
            json_depth: self.json_depth,
            archive: Limits { unpacked, entries: self.entries, name: self.entry_name },
            keep_versions: self.keep_versions,
            token_seconds: self.token_seconds,
            guesses: self.guesses,
            ..Options::new(self.database.db.clone(), memory)
        };
        Ok(config::Serve { service, listen })
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        start_log("warn,rookery=info");
        let options = self.options()?;
        if self.database.must_exist().is_err() {
            can_listen(options.listen.address)?;
        }
        self.onnxruntime.start(options.service.memory)?;
        let service = Service::open(options.service)?;
        service.sweep()?;
        service.restore_hot()?;
        service.start_housekeeping()?;
        let keep = service.clone();
        actix_web::rt::System::new().block_on(async move {
            let running = http::start(service, &options.listen)?;
            let origin = format!("{}://{}", running.scheme, running.address);
            if let Some(setup) = &running.setup {
                output::note(format_args!(
                    "No user exists yet. Make the first administrator at\n  {origin}{setup}\nor with `rookery user create NAME --admin`."
                ));
            }
            // Only once the server has been polled are its workers up and its signals handled.
            let server = actix_web::rt::spawn(running.run());
            tokio::task::yield_now().await;
            output::line(format_args!("listening on {origin}"));
            server.await.map_err(Error::internal)?
        })?;
        keep.remember_hot();
        keep.fold();
        Ok(ExitCode::SUCCESS)
    }
}

/// Cores this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
