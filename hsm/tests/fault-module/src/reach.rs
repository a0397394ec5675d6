//! Trying what a sandbox should refuse.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

/// Tries each line of the file `reach` and writes what came of it into `reached`: the line, then `ok` or the error's
/// number. A line is a word and a place: `tcp`, `udp` or `listen` and an address; `unix`, `unix-datagram`,
/// `unix-listen`, `read` or `write` and a path.
pub(super) fn try_all(directory: &Path) {
    let Ok(text) = fs::read_to_string(directory.join("reach")) else { return };
    let told = |line: &str| {
        let (word, place) = line.split_once(' ').unwrap_or((line, ""));
        let outcome = attempt(word, place)
            .map_or_else(|error| error.raw_os_error().unwrap_or(-1).to_string(), |()| "ok".to_owned());
        format!("{line} {outcome}\n")
    };
    let told: String = text.lines().map(told).collect();
    let _ = fs::write(directory.join("reached"), told); // whoever reads it sees that it is not there
}

fn attempt(word: &str, place: &str) -> io::Result<()> {
    match word {
        "tcp" => TcpStream::connect(place).map(drop),
        "udp" => UdpSocket::bind(place).map(drop),
        "listen" => TcpListener::bind(place).map(drop),
        "unix" => UnixStream::connect(place).map(drop),
        "unix-datagram" => UnixDatagram::unbound().map(drop),
        "unix-listen" => UnixListener::bind(place).map(drop),
        "read" => File::open(place).map(drop),
        "write" => File::options().write(true).open(place).map(drop),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
