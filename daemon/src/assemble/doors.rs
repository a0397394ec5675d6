//! The doors of the daemon: all are bound before one is served.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::task::{JoinHandle, JoinSet};
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use trust_proto::notary::key_management_server::KeyManagementServer;
use trust_proto::notary::signer_server::SignerServer;
use trust_proto::v1;

use crate::api::{CallLayer, Door, NOTARY_BYTES_MAX, NotaryDoor, NotaryListener};
use crate::house::House;
use crate::scrape;
use crate::serving;

/// Those that are configured, bound and not yet served.
pub(super) struct Doors {
    metrics: Option<scrape::Listener>,
    notary: Option<NotaryListener>,
    calls: serving::Doors,
}

impl Doors {
    /// Binds them. The Unix socket comes last: whoever finds it finds the others.
    pub(super) async fn bind(house: &Arc<House>) -> Result<Self> {
        let metrics = scrape::bind(house.config().metrics).await?;
        let notary = notary_listener(house).await?;
        let tls = house.parts.identity.tls();
        let calls = serving::bind(house.config(), tls, services(house)?, Arc::clone(house)).await?;
        Ok(Self { metrics, notary, calls })
    }

    /// Serves them until the house drains: the task ends with the last request. Metrics are answered in the background.
    pub(super) fn serve(self, house: &Arc<House>, background: &mut JoinSet<()>) -> JoinHandle<()> {
        let Self { metrics, notary, calls } = self;
        let drain = house.parts.drain.clone();
        if let Some(listener) = metrics {
            background.spawn(listener.serve(Arc::clone(house), drain.clone()));
        }
        tokio::spawn(async move {
            let notary = async {
                if let Some(listener) = notary {
                    listener.serve(drain.clone()).await;
                }
            };
            tokio::join!(calls.serve(drain.clone()), notary);
        })
    }
}

/// The Notary door, bound and not yet served; `None` where none is configured.
async fn notary_listener(house: &Arc<House>) -> Result<Option<NotaryListener>> {
    let (Some(config), Some(tls)) = (&house.config().notary, house.parts.identity.notary_tls()) else {
        return Ok(None);
    };
    NotaryListener::bind(NotaryDoor::new(Arc::clone(house), config.clone()), tls).await.map(Some)
}

/// Every service of `trust.v1` with reflection, behind the sizes of the configuration.
fn services(house: &Arc<House>) -> Result<tonic::service::Routes> {
    let door = Door::new(Arc::clone(house));
    let bytes_max = house.limits().message_bytes_max;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .build_v1()
        .context("build the reflection service")?;
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(v1::keys_server::KeysServer::new(door.clone()).max_decoding_message_size(bytes_max))
        .add_service(v1::signing_server::SigningServer::new(door.clone()).max_decoding_message_size(bytes_max))
        .add_service(
            v1::verification_server::VerificationServer::new(door.clone()).max_decoding_message_size(bytes_max),
        )
        .add_service(v1::audit_server::AuditServer::new(door.clone()))
        .add_service(
            v1::content_trust_server::ContentTrustServer::new(door.clone()).max_decoding_message_size(bytes_max),
        )
        .add_service(v1::hsm_server::HsmServer::new(door.clone()))
        .add_service(v1::admin_server::AdminServer::new(door.clone()))
        .add_service(HealthServer::new(HealthService::from_health_reporter(house.parts.health.clone())))
        .add_service(reflection);
    if house.config().notary_signer {
        routes
            .add_service(SignerServer::new(door.clone()).max_decoding_message_size(NOTARY_BYTES_MAX))
            .add_service(KeyManagementServer::new(door).max_decoding_message_size(NOTARY_BYTES_MAX));
    }
    Ok(routes.routes().into_axum_router().layer(CallLayer::new(Arc::clone(house))).into())
}
