//! File descriptors: raises the limit of this process as far as the system allows, and says so when that is less than the configuration
//! admits. It keeps nobody out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Takes what the system allows. For the start, before anything is opened that there may be many of.
pub(super) fn raise_limit(config: &Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        // Some systems say that there is no limit, and mean another.
        tracing::debug!(%error, "the limit of file descriptors stays as it is");
    }
    let (limit, wanted) = (getrlimit(Resource::Nofile).current, wanted(config));
    match limit {
        Some(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "the system allows fewer file descriptors than the configuration admits clients: when they are used up, nobody new gets in; \
             raise LimitNOFILE (systemd) or the hard limit (ulimit -Hn), or lower http.max_connections"
        ),
        _ => tracing::debug!(limit, wanted, "file descriptors"),
    }
}

/// What a node uses when all come that may.
fn wanted(config: &Config) -> u64 {
    let tcp = if config.media.tcp { lockgate_worker::MAX_TCP_CONNECTIONS } else { 0 };
    let all = config.media.worker_count().saturating_mul(tcp).saturating_add(config.http.max_connections);
    u64::try_from(all.saturating_add(OWN)).unwrap_or(u64::MAX)
}

/// Files, sockets and threads' polls that do not depend on clients.
const OWN: usize = 512;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn each_websocket_and_each_connection_by_tcp_has_a_descriptor() {
        let wanted = |tcp: bool| {
            let text = format!(
                "[http]\nmax_connections = 1000\n[media]\nport = 0\nworkers = 3\ntcp = {tcp}\n[dev]\nenabled = true\n"
            );
            wanted(&Config::read("config.toml", &text, PathBuf::from("."), []).expect("a configuration"))
        };
        assert_eq!((wanted(false), wanted(true)), (1000 + 512, 1000 + 512 + 3 * 8192));
    }
}
