//! From what was typed and what the environment says to what it means.
//!
//! `cli/` declares the flags; here they become option structs with their defaults. Next: `http/mod.rs`, which is started
//! with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::names::shown;
use crate::policy::Block;
use crate::service::Options;

/// How the server listens.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// Certificate chain and private key, PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Threads that take requests.
    pub workers: usize,
    /// The longest request body, in bytes; uploads have their own limit.
    pub body: usize,
    /// Memory for bodies that come in more than one piece, all together, in bytes; uploads count with what they buffer.
    /// Long answers that are not read yet have as much again, and all other bodies an eighth of it, 8 MiB at least.
    pub body_memory: usize,
    /// Proxies whose X-Forwarded headers are believed.
    pub proxies: Vec<Block>,
    /// Within this time a request's headers must have come.
    pub header_time: Duration,
    /// The longest pause between two pieces of a body.
    pub idle: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
}

/// What `rookery serve` runs with.
#[derive(Debug, Clone)]
pub struct Serve {
    /// The service.
    pub service: Options,
    /// The listener.
    pub listen: Listen,
}

/// The body limit of a prediction: SageMaker's 6 MiB.
pub const BODY: usize = 6_291_456;

impl Listen {
    /// The documented defaults for `address`.
    pub fn new(address: SocketAddr, workers: usize) -> Self {
        Self {
            address,
            tls: None,
            workers,
            body: BODY,
            body_memory: 512 << 20,
            proxies: Vec::new(),
            header_time: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
        }
    }

    /// Checks that plain text stays on this machine unless that was asked for.
    ///
    /// # Errors
    /// Saying which flag to add.
    pub fn check(&self, insecure: bool) -> Result<()> {
        if self.address.ip().is_loopback() || self.tls.is_some() || insecure {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "`{}` is reachable from other machines and tokens would travel in the clear; add --tls-cert and --tls-key, or --insecure if a proxy does TLS",
            self.address
        )))
    }
}

/// Bytes as people write them: `512MiB`, `2GB`, `1073741824`.
///
/// # Errors
/// When it is no such thing.
pub fn bytes(text: &str) -> Result<u64> {
    let bad = || Error::invalid(format!("`{}` is no size; write bytes, or a number with KiB, MiB, GiB, KB, MB or GB", shown(text)));
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split).ok_or_else(bad)?;
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(bad()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)).ok_or_else(bad)
}

/// Half of the memory this process may use: what its control groups or the machine limit it to, whichever is least.
pub fn half_of_memory() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = read("/proc/self/cgroup").unwrap_or_else(|| "0::/\n1:memory:/\n".to_owned());
    let group = group_limit(&groups, Path::new("/sys/fs/cgroup"));
    // Without either, a size that any machine has.
    machine.into_iter().chain(group).min().map_or(512 << 20, |bytes| bytes / 2)
}

/// The least memory limit of the control groups in `own`, which is written as `/proc/self/cgroup` is, and of all that
/// are around them: each holds for what is inside. `root` is where they are mounted.
fn group_limit(own: &str, root: &Path) -> Option<u64> {
    let limits = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            some if some.split(',').any(|one| one == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| std::fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok()).min()
    });
    limits.min()
}

/// The most an artifact may unpack to when nothing is said: 2 GiB, or an eighth of the memory there is where that is less,
/// since it takes several times its bytes to prepare one.
pub fn unpacked() -> u64 {
    (half_of_memory() / 4).min(2 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("10MiB").unwrap(), 10 << 20);
        assert_eq!(bytes("2 GB").unwrap(), 2_000_000_000);
        assert_eq!(bytes("77").unwrap(), 77);
        for bad in ["", "x", "1.5G", "99999999999GiB", "-1"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(half_of_memory() > 1 << 20);
        assert!(unpacked() <= 2 << 30 && unpacked() * 4 <= half_of_memory());
    }

    #[test]
    fn the_least_limit_of_the_groups_around_this_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, limit: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{limit}\n")).unwrap();
        };
        let limit = |own: &str| group_limit(own, root.path());
        assert_eq!(limit("0::/system.slice/rookery.service\n"), None, "nothing is limited");
        put("system.slice/rookery.service/memory.max", "1073741824");
        put("system.slice/memory.max", "max");
        put("user.slice/memory.max", "77");
        assert_eq!(limit("0::/system.slice/rookery.service\n"), Some(1 << 30));
        assert_eq!(limit("0::/system.slice\n"), None);
        put("system.slice/memory.max", "536870912");
        assert_eq!(limit("0::/system.slice/rookery.service\n"), Some(1 << 29), "a group around it has less");
        // In a container the path may be the one outside of it, which is not there.
        put("memory.max", "268435456");
        assert_eq!(limit("0::/docker/0123\n"), Some(1 << 28));
        // The older layout: a tree for each controller.
        put("memory/docker/0123/memory.limit_in_bytes", "134217728");
        put("memory/memory.limit_in_bytes", "9223372036854771712");
        let older = "5:cpu,cpuacct:/docker/0123\n4:hugetlb,memory:/docker/0123\n1:name=systemd:/docker/0123\n";
        assert_eq!(limit(older), Some(1 << 27));
        assert_eq!(limit("4:memory:/a:b\n"), Some(9_223_372_036_854_771_712));
        assert_eq!(limit("nonsense\n\n"), None);
    }
}
