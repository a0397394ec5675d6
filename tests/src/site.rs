//! A site of files on the loopback: serves a directory, remembers what it was asked for, and lies where it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// No request may take longer.
const LIMIT: Duration = Duration::from_secs(20);

/// A site, until it is dropped.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    directory: PathBuf,
    lies: BTreeMap<String, Lie>,
    asked: Vec<String>,
    ends: bool,
}

/// What is served in a file's place.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a test names each")]
pub enum Lie {
    /// Other bytes.
    Bytes(Vec<u8>),
    /// The way to elsewhere.
    Redirect(String),
    /// This status, and nothing else.
    Status(u16),
}

impl Site {
    /// Serves a directory.
    ///
    /// # Errors
    /// When there is no port.
    pub fn of(directory: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen on the loopback")?;
        let address = listener.local_addr().context("read the site's port")?;
        let state = State { directory: directory.to_path_buf(), lies: BTreeMap::new(), asked: Vec::new(), ends: false };
        let state = Arc::new(Mutex::new(state));
        let served = Arc::clone(&state);
        let serve = move || {
            for stream in listener.incoming() {
                if locked(&served).ends {
                    return;
                }
                // Whoever hangs up has what was wanted.
                let _ = stream.and_then(|stream| answer(stream, &served));
            }
        };
        let thread = std::thread::Builder::new().name("site".to_owned()).spawn(serve).context("start the site")?;
        Ok(Self { address, state, thread: Some(thread) })
    }

    /// The URL of a path, which begins with no slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Serves something else in the place of a path from now on.
    pub fn lie(&self, path: &str, lie: Lie) {
        locked(&self.state).lies.insert(path.to_owned(), lie);
    }

    /// The paths that were asked for since this was last called.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).asked)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        locked(&self.state).ends = true;
        // Wakes the thread, which sees that it is to end.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let (lie, file) = {
        let mut state = locked(state);
        let found = (state.lies.get(&path).cloned(), state.directory.join(&path));
        state.asked.push(path);
        found
    };
    let (status, more, body) = match lie {
        Some(Lie::Bytes(bytes)) => (200, String::new(), bytes),
        Some(Lie::Redirect(to)) => (302, format!("location: {to}\r\n"), Vec::new()),
        Some(Lie::Status(status)) => (status, String::new(), Vec::new()),
        None => match std::fs::read(file) {
            Ok(bytes) => (200, String::new(), bytes),
            Err(_) => (404, String::new(), Vec::new()),
        },
    };
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
