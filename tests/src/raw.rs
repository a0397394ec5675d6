//! Keys of purpose raw over a daemon's gRPC door: the shortest way to a signature, for tests of what is around it.
//! The daemon's policy must allow them ([`crate::Setup::allowing_raw`]).

use tonic::Status;
use tonic::transport::Channel;
use trust_proto::v1::admin_client::AdminClient;
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::raw_statement::Input;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::statement::Kind;
use trust_proto::v1::{
    Algorithm, ChangeUseRequest, CreateKeyRequest, DistrustKeyRequest, DistrustReason, GetKeyRequest, GetStatusRequest,
    GetStatusResponse, KekVersion, Key, ListEntriesRequest, ListKeksRequest, Purpose, RawStatement, RotateKekRequest,
    RotateKeyRequest, SealRequest, SignRequest, SignResponse, Statement, UnsealRequest, UseChange,
};

/// A request for an Ed25519 key of purpose raw.
#[must_use]
pub fn create_request(name: &str) -> CreateKeyRequest {
    CreateKeyRequest {
        name: name.to_owned(),
        purpose: Purpose::Raw.into(),
        algorithm: Algorithm::Ed25519.into(),
        ..CreateKeyRequest::default()
    }
}

/// A request to sign `message`.
#[must_use]
pub fn sign_request(key: &str, message: &[u8]) -> SignRequest {
    let statement = RawStatement { input: Some(Input::Message(message.to_vec().into())) };
    SignRequest {
        key: key.to_owned(),
        statement: Some(Statement { kind: Some(Kind::Raw(statement)) }),
        ..SignRequest::default()
    }
}

/// Somebody who is connected to a daemon.
#[derive(Debug, Clone)]
pub struct Caller {
    channel: Channel,
}

impl Caller {
    /// A caller over `channel`.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
    }

    fn keys(&self) -> KeysClient<Channel> {
        KeysClient::new(self.channel.clone())
    }

    fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    /// Makes an Ed25519 key.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn create(&self, name: &str) -> Result<Key, Status> {
        let answer = self.keys().create_key(create_request(name)).await?.into_inner();
        Ok(answer.key.unwrap_or_default())
    }

    /// The key as it is now.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn get(&self, name: &str) -> Result<Key, Status> {
        let answer = self.keys().get_key(GetKeyRequest { key: name.to_owned() }).await?.into_inner();
        Ok(answer.key.unwrap_or_default())
    }

    /// Adds a version.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn rotate(&self, name: &str) -> Result<Key, Status> {
        let request = RotateKeyRequest { key: name.to_owned(), ..RotateKeyRequest::default() };
        Ok(self.keys().rotate_key(request).await?.into_inner().key.unwrap_or_default())
    }

    /// Enables, disables, retires, destroys.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn change(&self, name: &str, change: UseChange) -> Result<Key, Status> {
        let request = ChangeUseRequest { key: name.to_owned(), change: change.into(), ..ChangeUseRequest::default() };
        Ok(self.keys().change_use(request).await?.into_inner().key.unwrap_or_default())
    }

    /// Ends the trust in a key.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn distrust(&self, name: &str) -> Result<Key, Status> {
        let request = DistrustKeyRequest {
            key: name.to_owned(),
            reason: DistrustReason::KeyCompromise.into(),
            ..DistrustKeyRequest::default()
        };
        Ok(self.keys().distrust_key(request).await?.into_inner().key.unwrap_or_default())
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn sign(&self, key: &str, message: &[u8]) -> Result<SignResponse, Status> {
        Ok(SigningClient::new(self.channel.clone()).sign(sign_request(key, message)).await?.into_inner())
    }

    /// The daemon's state.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn status(&self) -> Result<GetStatusResponse, Status> {
        Ok(self.admin().get_status(GetStatusRequest {}).await?.into_inner())
    }

    /// Gives the passphrase.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn unseal(&self, passphrase: &str) -> Result<(), Status> {
        let request = UnsealRequest { passphrase: passphrase.as_bytes().to_vec().into(), by_token: false };
        self.admin().unseal(request).await.map(|_| ())
    }

    /// Makes the daemon forget the root key.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn seal(&self) -> Result<(), Status> {
        self.admin().seal(SealRequest {}).await.map(|_| ())
    }

    /// The KEK ring's versions.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn keks(&self) -> Result<Vec<KekVersion>, Status> {
        Ok(self.admin().list_keks(ListKeksRequest {}).await?.into_inner().versions)
    }

    /// Rotates the KEK to its end; answers its new version.
    ///
    /// # Errors
    /// The daemon's; also when the stream ends before the rotation does.
    pub async fn rotate_kek(&self) -> Result<u32, Status> {
        let mut progress = self.admin().rotate_kek(RotateKekRequest::default()).await?.into_inner();
        while let Some(told) = progress.message().await? {
            if told.done {
                return Ok(told.version);
            }
        }
        Err(Status::data_loss("the rotation ended without an end"))
    }

    /// Every leaf from `first` on, at most 1000.
    ///
    /// # Errors
    /// The daemon's; also for a leaf that is not JSON.
    pub async fn leaves(&self, first: u64) -> Result<Vec<serde_json::Value>, Status> {
        let request = ListEntriesRequest { first_leaf: first, count: 1000 };
        let page = AuditClient::new(self.channel.clone()).list_entries(request).await?.into_inner();
        let read = |entry: &[u8]| serde_json::from_slice(entry).map_err(|error| Status::data_loss(error.to_string()));
        page.entries.iter().map(|entry| read(entry)).collect()
    }
}
