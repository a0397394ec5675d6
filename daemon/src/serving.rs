//! Binds every door, then serves them.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::UdsConnectInfo;

use crate::assemble::services;
use crate::config::Config;
use crate::house::House;
use crate::identity::Caller;
use crate::tls::TlsState;

pub(crate) struct Doors {
    unix: UnixListener,
    routes: tonic::service::Routes,
}

pub(crate) async fn bind(config: &Config, _tls: Option<Arc<TlsState>>, house: Arc<House>) -> Result<Doors> {
    let _ = std::fs::remove_file(&config.unix.path);
    let unix = UnixListener::bind(&config.unix.path).context("bind")?;
    std::fs::set_permissions(&config.unix.path, std::fs::Permissions::from_mode(config.unix.mode))?;
    Ok(Doors { unix, routes: services(&house)? })
}

impl Doors {
    pub(crate) async fn serve(self, drain: CancellationToken) {
        let layer = tonic::service::InterceptorLayer::new(|mut request: tonic::Request<()>| {
            let caller = request
                .extensions()
                .get::<UdsConnectInfo>()
                .and_then(|info| info.peer_cred)
                .map(|cred| Caller::Local { uid: cred.uid(), pid: cred.pid() });
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            Ok(request)
        });
        let _ = tonic::transport::Server::builder()
            .layer(layer)
            .add_routes(self.routes)
            .serve_with_incoming_shutdown(UnixListenerStream::new(self.unix), drain.cancelled_owned())
            .await;
    }
}

pub(crate) async fn metrics(
    _config: &Config,
    _house: Arc<House>,
    _drain: CancellationToken,
) -> Result<Option<JoinHandle<()>>> {
    Ok(None)
}
