//! Connections over the Unix socket in another user's name, without another program.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use hyper_util::rt::TokioIo;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_uid};
use tonic::transport::{Channel, Endpoint};

/// A gRPC connection whose peer credentials say `uid`. Needs root; the group stays root's, as the socket is open to
/// it, and the directories on the way must be open to others.
///
/// # Errors
/// When the user cannot be taken on, or nobody listens.
pub async fn connect_as(socket: &Path, uid: u32) -> Result<Channel> {
    let stream = stream_as(socket, uid)?;
    stream.set_nonblocking(true).context("make the socket asynchronous")?;
    let stream = tokio::net::UnixStream::from_std(stream).context("take the socket over")?;
    let once = Mutex::new(Some(TokioIo::new(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { stream.ok_or_else(|| std::io::Error::other("this connection is made once")) }
    });
    // The address is never resolved: the connector above always gives the socket.
    Endpoint::from_static("http://socket.invalid")
        .connect_with_connector(connector)
        .await
        .context("speak to the daemon")
}

/// On Linux the kernel keeps user ids per thread, and a socket keeps those of the thread that connected it.
fn stream_as(socket: &Path, uid: u32) -> Result<UnixStream> {
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| -> Result<UnixStream> {
            let user = Uid::from_raw(uid);
            set_thread_groups(&[Gid::ROOT]).context("drop the other groups (needs root)")?;
            set_thread_res_uid(user, user, user).with_context(|| format!("become user {uid} (needs root)"))?;
            UnixStream::connect(socket).with_context(|| format!("connect to {} as {uid}", socket.display()))
        });
        connecting.join().map_err(|_| anyhow!("the connecting thread panicked"))?
    })
}
