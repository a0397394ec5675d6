//! What a module may reach: nothing that its configuration does not list.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod house;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use house::token::FaultHouse;
use trust_hsm::worker::{Supervisor, TokenConfig};

/// `EPERM`: seccomp does not let the call through.
const NO_CALL: &str = "1";
/// `EACCES`: Landlock does not let it reach this place.
const NO_PLACE: &str = "13";

/// Somebody who listens, in every way that a module may call.
struct Neighbours {
    house: FaultHouse,
    one: TcpListener,
    other: TcpListener,
    _socket: UnixListener,
}

impl Neighbours {
    fn new() -> Self {
        let house = FaultHouse::new();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UnixListener::bind(house.token.directory.path().join("socket")).unwrap();
        Self { house, one: listen(), other: listen(), _socket: socket }
    }

    fn socket(&self) -> PathBuf {
        self.house.token.directory.path().join("socket")
    }

    /// What the module reached, by what it tried.
    fn reached(&self, config: TokenConfig) -> BTreeMap<String, String> {
        let (one, other) = (self.one.local_addr().unwrap(), self.other.local_addr().unwrap());
        let (socket, new) = (self.socket(), self.house.directory().join("new"));
        let tried = format!(
            "tcp {one}\ntcp {other}\ntcp [::1]:{port}\nudp 127.0.0.1:0\nlisten 127.0.0.1:0\nunix {socket}\n\
             unix-datagram\nunix-listen {new}\nread /dev/zero\nwrite /dev/null\nread /etc/passwd\n",
            port = one.port(),
            socket = socket.display(),
            new = new.display(),
        );
        let directory = self.house.directory();
        let _ = std::fs::remove_file(directory.join("reached"));
        std::fs::write(directory.join("reach"), tried).unwrap();

        let worker = Supervisor::mount(config).unwrap();

        assert_eq!(worker.trouble(), None);
        let told = std::fs::read_to_string(directory.join("reached")).unwrap();
        let name = |line: &str| {
            line.replace(&one.to_string(), "ONE").replace(&other.to_string(), "OTHER").replace(&path(&socket), "SOCKET")
        };
        told.lines()
            .map(|line| line.rsplit_once(' ').map(|(tried, came)| (name(tried), came.to_owned())).unwrap())
            .collect()
    }
}

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What came of everything that `expected` does not name is a refusal of the call, or of the place.
fn assert_only(reached: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (tried, came) in reached {
        let expected = expected.iter().find(|(name, _)| name == tried).map(|(_, came)| *came);
        match expected {
            Some(expected) => assert_eq!(came, expected, "{tried}: {reached:?}"),
            None => assert!([NO_CALL, NO_PLACE].contains(&came.as_str()), "{tried}: {reached:?}"),
        }
    }
    for (name, _) in expected {
        assert!(reached.contains_key(*name), "{name} was not tried: {reached:?}");
    }
}

#[test]
fn a_module_that_lists_nothing_reaches_no_network_no_socket_and_no_device() {
    let neighbours = Neighbours::new();

    let reached = neighbours.reached(neighbours.house.config());

    assert_eq!(reached.len(), 11, "{reached:?}");
    assert_only(&reached, &[("tcp ONE", NO_CALL), ("unix SOCKET", NO_CALL), ("read /dev/zero", NO_PLACE)]);
}

#[test]
fn a_module_connects_to_the_port_that_is_listed_and_to_no_other() {
    let neighbours = Neighbours::new();
    let mut config = neighbours.house.config();
    config.connect.push(neighbours.one.local_addr().unwrap());

    let reached = neighbours.reached(config);

    // Another port is Landlock's to refuse, from Linux 6.7 on; this test needs such a kernel.
    assert_only(&reached, &[("tcp ONE", "ok"), ("tcp OTHER", NO_PLACE), ("udp 127.0.0.1:0", NO_CALL)]);
}

#[test]
fn a_module_with_a_listed_socket_connects_to_it_and_has_no_network() {
    let neighbours = Neighbours::new();
    let mut config = neighbours.house.config();
    config.sockets.push(neighbours.socket());

    let reached = neighbours.reached(config);

    assert_only(&reached, &[("unix SOCKET", "ok"), ("tcp ONE", NO_CALL), ("unix-datagram", NO_CALL)]);
}

#[test]
fn a_module_uses_the_devices_that_are_listed_and_no_other() {
    let neighbours = Neighbours::new();
    let mut config = neighbours.house.config();
    config.devices.push(PathBuf::from("/dev/zero"));

    let reached = neighbours.reached(config);

    assert_only(&reached, &[("read /dev/zero", "ok"), ("write /dev/null", NO_PLACE), ("tcp ONE", NO_CALL)]);
}

#[test]
fn an_address_in_the_environment_arrives_and_opens_nothing_and_a_path_may_be_read() {
    let neighbours = Neighbours::new();
    let mut config = neighbours.house.config();
    for (name, value) in [("A_DEVICE", "device:/dev/zero"), ("A_SOCKET", "unix:path=/run/a"), ("A_FILE", "/etc/passwd")]
    {
        config.environment.push((name.to_owned(), value.into()));
    }

    let reached = neighbours.reached(config.clone());

    assert_only(
        &reached,
        &[("read /dev/zero", NO_PLACE), ("unix SOCKET", NO_CALL), ("tcp ONE", NO_CALL), ("read /etc/passwd", "ok")],
    );
    if rustix::process::geteuid().is_root() {
        let worker = Supervisor::mount(config).unwrap();
        let told = std::fs::read(format!("/proc/{}/environ", worker.pids().first().unwrap())).unwrap();
        let variables: Vec<_> = told.split(|byte| *byte == 0).collect();
        assert!(variables.contains(&b"A_DEVICE=device:/dev/zero".as_slice()));
    }
}
