//! What a vendor's module may reach besides files: its configuration's list, in the words of the kernel (D24).
//!
//! Each list that is empty leaves its whole family of calls refused. What the kernel cannot hold a module to is
//! said here and in docs/config.md, and nowhere pretended: addresses of TCP, and paths of Unix sockets.

use std::net::SocketAddr;
use std::path::PathBuf;

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{TokenConfig, sandbox};

/// Addresses, sockets and devices.
pub(super) struct Reach {
    /// TCP only, and of these only the ports are held.
    pub(super) connect: Vec<SocketAddr>,
    /// Whether it may connect to Unix sockets, of the file system only.
    pub(super) unix_sockets: bool,
    /// Devices and directories of them.
    pub(super) devices: Vec<PathBuf>,
}

/// What whoever has a stream may do with it, and how vendors' libraries wait for one. No bind, no listen, no accept.
const STREAMS: &[libc::c_long] = &[
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_pselect6,
    libc::SYS_setsockopt,
];

/// The older forms of the same.
#[cfg(target_arch = "x86_64")]
const STREAMS_OLDER: &[libc::c_long] = &[libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const STREAMS_OLDER: &[libc::c_long] = &[];

/// What of a token's lists nobody enforces on this machine, for the log.
pub(super) fn not_held(config: &TokenConfig) -> impl Iterator<Item = &'static str> {
    let (connects, sockets) = (!config.connect.is_empty(), !config.sockets.is_empty());
    let lists = [
        (connects && !sandbox::ports_are_held(), "connect: any port, before Linux 6.7"),
        (connects, "connect: any address at these ports"),
        (sockets, "sockets: any Unix socket whose mode lets it"),
    ];
    lists.into_iter().filter_map(|(is_so, what)| is_so.then_some(what))
}

/// The calls that need no look at their arguments.
pub(super) fn calls(reach: &Reach) -> impl Iterator<Item = &'static libc::c_long> {
    let streams = reach.unix_sockets || !reach.connect.is_empty();
    STREAMS.iter().chain(STREAMS_OLDER).filter(move |_| streams)
}

/// `socket`, for streams of the families that are listed; empty where there are none.
pub(super) fn socket_rules(reach: &Reach) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let mut families = Vec::new();
    if reach.connect.iter().any(SocketAddr::is_ipv4) {
        families.push(libc::AF_INET);
    }
    if reach.connect.iter().any(SocketAddr::is_ipv6) {
        families.push(libc::AF_INET6);
    }
    if reach.unix_sockets {
        families.push(libc::AF_UNIX);
    }
    families.into_iter().map(stream_of).collect()
}

/// A stream of this family and its usual protocol: no datagram, which Landlock does not see, and no MPTCP.
fn stream_of(family: libc::c_int) -> Result<SeccompRule, seccompiler::Error> {
    // SOCK_NONBLOCK and SOCK_CLOEXEC stand in the same word as the type.
    let type_bits = 0xf;
    Ok(SeccompRule::new(vec![
        condition(0, SeccompCmpOp::Eq, family)?,
        condition(1, SeccompCmpOp::MaskedEq(type_bits), libc::SOCK_STREAM)?,
        // IPPROTO_IP (0) and IPPROTO_TCP (6) mean TCP; for a Unix socket 0 is the only one.
        condition(2, SeccompCmpOp::MaskedEq(!6), 0)?,
    ])?)
}

/// `ioctl`, where there are devices; never to push letters into a terminal that was inherited.
pub(super) fn ioctl_rules(reach: &Reach) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    if reach.devices.is_empty() {
        return Ok(Vec::new());
    }
    let not = |request: u64| SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, request);
    Ok(vec![SeccompRule::new(vec![not(TIOCSTI)?, not(TIOCLINUX)?])?])
}

/// Types a letter (`tty_ioctl(4)`), and selects and pastes on a console (`ioctl_console(2)`). The C library's type for
/// these numbers is not the same everywhere.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

fn condition(argument: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value.unsigned_abs()))?)
}
