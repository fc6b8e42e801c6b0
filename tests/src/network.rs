//! A network of a test's own, in which it may do to packets what it likes.
//!
//! The test program starts itself again in a new network namespace, with nothing in it but loopback; the node and the browser that
//! the test starts there share it. It is gone with the test. Loss and rate are the kernel's: nftables and a token bucket filter.

use std::fmt::Display;
use std::process::Command;

use crate::process::ending_with_us;

/// The network of a test that runs inside of it.
#[derive(Debug)]
pub struct PrivateNetwork(());

impl PrivateNetwork {
    /// Runs a test, which is called so, in a network of its own.
    ///
    /// # Panics
    /// When the test does, or when the system has no network namespaces for us.
    pub fn around(test: &str, body: impl AsyncFnOnce(Self)) {
        if let Some(begun) = std::env::var_os(INSIDE) {
            std::fs::write(begun, test).expect("the file is ours");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system gives a thread what it needs");
            return runtime.block_on(body(Self::open()));
        }
        let mut inner = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            inner.args(["--user", "--map-root-user"]);
        }
        let program = std::env::current_exe().expect("a program knows where it is");
        // Inside of it, as a new namespace forgets who is to be killed with whom.
        let mut test_program = Command::new(program);
        test_program.args([test, "--exact", "--include-ignored", "--nocapture"]);
        let bound = ending_with_us(&test_program);
        let begun = tempfile::NamedTempFile::new().expect("there is a place for a file");
        inner.arg("--net").arg("--").arg(bound.get_program()).args(bound.get_args()).env(INSIDE, begun.path());
        // Who counts tests by what they print counts this one once: by what the outer program prints.
        inner.stdout(std::io::stderr());
        let status = inner.status().expect("util-linux has `unshare`");
        assert!(status.success(), "{test}, inside: {status}");
        // A test program is content when no test has the name that it is told.
        let ran = std::fs::read_to_string(begun.path()).expect("the file is ours");
        assert_eq!(ran, test, "this is no test's whole name");
    }

    fn open() -> Self {
        run("ip", "link set lo up");
        // Packets that nothing is said of pass by; of those that the mark names, the filter lets through what its rate allows.
        run("tc", "qdisc add dev lo root handle 1: htb");
        run("tc", "class add dev lo parent 1: classid 1:3 htb rate 10gbit quantum 60000");
        run("nft", "add table inet test");
        run("nft", "add chain inet test out { type filter hook output priority 0; }");
        run("nft", "add chain inet test in { type filter hook input priority 0; }");
        Self(())
    }

    /// What goes to this UDP port has so many kbit/s from now on, and a queue of 300 ms.
    pub fn narrow(&self, port: u16, kilobits: u64) {
        Self::narrow_what(&format!("udp dport {port}"), kilobits, "300ms");
    }

    /// As [`Self::narrow`], with a queue of a minute: whatever comes too fast waits, and nothing is lost.
    pub fn narrow_without_loss(&self, port: u16, kilobits: u64) {
        Self::narrow_what(&format!("udp dport {port}"), kilobits, "60s");
    }

    /// What comes from this TCP port has so many kbit/s from now on, and a queue of 300 ms. It is to be [`Self::use_short_packets`] before
    /// connections come about.
    pub fn narrow_tcp_from(&self, port: u16, kilobits: u64) {
        Self::narrow_what(&format!("tcp sport {port}"), kilobits, "300ms");
    }

    /// Packets are as long as on an Ethernet for connections that come about from now on: those of loopback's are longer than the bursts of
    /// a narrow link, which would lose each of them.
    pub fn use_short_packets(&self) {
        run("ip", "link set lo mtu 1500");
    }

    fn narrow_what(what: &str, kilobits: u64, queue: &str) {
        run(
            "tc",
            format!("qdisc replace dev lo parent 1:3 handle 30: tbf rate {kilobits}kbit burst 4kb latency {queue}"),
        );
        run("nft", "flush chain inet test out");
        run("nft", format!("add rule inet test out {what} meta priority set 1:3"));
    }

    /// How many packets the narrow link has dropped so far.
    ///
    /// # Panics
    /// When there is none.
    pub fn dropped(&self) -> u64 {
        let told = run("tc", "-s -j qdisc show dev lo handle 30:");
        let told: serde_json::Value = serde_json::from_str(&told).expect("tc tells JSON when it is asked for it");
        told[0]["drops"].as_u64().unwrap_or_else(|| panic!("no narrow link is told of: {told}"))
    }

    /// There is room for everything again.
    pub fn widen(&self) {
        run("nft", "flush chain inet test out");
    }

    /// Of what goes to this UDP port, so many packets of 100 are lost from now on, by chance.
    pub fn lose(&self, port: u16, percent: u32) {
        run("nft", "flush chain inet test in");
        run("nft", format!("add rule inet test in udp dport {port} numgen random mod 100 < {percent} counter drop"));
    }

    /// No datagram passes from now on.
    pub fn block_udp(&self) {
        run("nft", "flush chain inet test in");
        run("nft", "add rule inet test in meta l4proto udp counter drop");
    }

    /// No datagram passes to or from this port from now on.
    pub fn block_udp_of(&self, port: u16) {
        run("nft", format!("add rule inet test in udp dport {port} counter drop"));
        run("nft", format!("add rule inet test in udp sport {port} counter drop"));
    }

    /// Nothing passes by TCP to or from this port from now on, and nobody is told: connections that are there die silently.
    pub fn silence_tcp(&self, port: u16) {
        run("nft", format!("add rule inet test in tcp dport {port} counter drop"));
        run("nft", format!("add rule inet test in tcp sport {port} counter drop"));
    }

    /// No datagram passes between two addresses of loopback from now on: who is there needs an interface.
    pub fn block_udp_within_loopback(&self) {
        run("nft", "add rule inet test in meta l4proto udp ip saddr 127.0.0.0/8 ip daddr 127.0.0.0/8 counter drop");
    }

    /// One more interface, with this name and IPv4 address.
    pub fn plug(&self, name: &str, address: &str) {
        run("ip", format!("link add {name} type veth peer name {name}-end"));
        run("ip", format!("addr add {address}/24 dev {name}"));
        run("ip", format!("link set {name} up"));
        run("ip", format!("link set {name}-end up"));
    }

    /// An interface is gone, and its address with it.
    pub fn unplug(&self, name: &str) {
        run("ip", format!("link del {name}"));
    }

    /// Everything passes again.
    pub fn unblock(&self) {
        run("nft", "flush chain inet test in");
    }

    /// Ends all TCP connections to this port as a firewall does that has forgotten them: whoever made one is told when it sends,
    /// and the other end never. New ones come about. How many there were comes back.
    ///
    /// # Panics
    /// When there are none.
    pub fn cut_tcp(&self, port: u16) -> usize {
        let ports = connected_to(port);
        let list: Vec<_> = ports.iter().map(u16::to_string).collect();
        let clients = format!("{{ {} }}", list.join(", "));
        run("nft", format!("add rule inet test in tcp dport {port} tcp sport {clients} reject with tcp reset"));
        run("nft", format!("add rule inet test in tcp sport {port} tcp dport {clients} tcp flags & rst == 0 drop"));
        ports.len()
    }
}

/// The ports of this network that are connected to a TCP port of it (proc(5), /proc/net/tcp).
fn connected_to(port: u16) -> Vec<u16> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the system tells of its connections");
    let own = |field: &str| u16::from_str_radix(field.split_once(':')?.1, 16).ok();
    let row = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        (own(fields.get(2)?)? == port && fields.get(3) == Some(&ESTABLISHED)).then(|| own(fields[1]))?
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Administrators' folders are not on everybody's path. What the program says comes back.
fn run(program: &str, arguments: impl Display) -> String {
    let (arguments, path) = (arguments.to_string(), std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new(program).args(arguments.split(' ')).env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ESTABLISHED: &str = "01";
/// Set for the test program that is inside.
const INSIDE: &str = "LOCKGATE_TESTS_PRIVATE_NETWORK";
