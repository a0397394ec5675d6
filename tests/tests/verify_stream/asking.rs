//! A daemon that is asked over a stream, and what it is asked.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use trust_proto::v1::verification_client::VerificationClient;
use trust_proto::v1::{Algorithm, BatchKey, VerifyBatchRequest, VerifyBatchResponse, batch_key, verify_batch_request};
use trust_tests::http::free_address;
use trust_tests::{Daemon, Setup};

use super::signed::{Signed, metric, sign};

/// Far longer than any of it takes on a busy machine: what is waited for comes, or never.
pub(crate) const LONG: Duration = Duration::from_secs(900);

pub(crate) fn kept(name: &str) -> BatchKey {
    BatchKey { kind: Some(batch_key::Kind::Key(name.to_owned())) }
}

/// So many items of one key, from one on; their signatures are wrong where `broken` says so.
pub(crate) fn message(
    signed: &Signed,
    from: usize,
    items: usize,
    broken: impl Fn(usize) -> bool,
) -> VerifyBatchRequest {
    let (mut messages, mut signatures) = (Vec::new(), Vec::new());
    for item in from..from + items {
        let place = item % signed.messages.len();
        messages.extend_from_slice(&signed.messages[place]);
        let mut signature = signed.signatures[place].to_vec();
        signature[40] ^= u8::from(broken(item));
        signatures.extend(signature);
    }
    VerifyBatchRequest {
        messages: Some(verify_batch_request::Messages::Items32(messages.into())),
        signatures: signatures.into(),
        ..VerifyBatchRequest::default()
    }
}

pub(crate) fn naming(key: &str, message: VerifyBatchRequest) -> VerifyBatchRequest {
    VerifyBatchRequest { keys: vec![kept(key)], ..message }
}

/// An open stream.
pub(crate) struct Stream {
    pub(crate) messages: mpsc::Sender<VerifyBatchRequest>,
    pub(crate) answers: Streaming<VerifyBatchResponse>,
}

impl Stream {
    pub(crate) async fn open(channel: &Channel) -> Result<Self, Status> {
        let (messages, sent) = mpsc::channel(1);
        let answers = VerificationClient::new(channel.clone()).verify_stream(ReceiverStream::new(sent)).await?;
        Ok(Self { messages, answers: answers.into_inner() })
    }

    pub(crate) async fn ask(&mut self, message: VerifyBatchRequest) -> Result<Option<VerifyBatchResponse>, Status> {
        self.messages.send(message).await.unwrap();
        self.answers.message().await
    }
}

/// Sends all of it and reads to the end: the answers, and how it ended.
pub(crate) async fn ask_all(
    channel: &Channel,
    messages: Vec<VerifyBatchRequest>,
) -> (Vec<VerifyBatchResponse>, Result<(), Status>) {
    let stream = VerificationClient::new(channel.clone()).verify_stream(tokio_stream::iter(messages)).await;
    let mut stream = match stream {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut answers = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, Ok(())),
            Err(status) => return (answers, Err(status)),
        }
    }
}

pub(crate) struct Scene {
    pub(crate) daemon: Daemon,
    pub(crate) metrics: SocketAddr,
    pub(crate) channel: Channel,
    pub(crate) signed: Signed,
}

impl Scene {
    pub(crate) async fn with(limits: &str) -> Self {
        let metrics = free_address().unwrap();
        let more = format!("metrics = \"{metrics}\"\n[limits]\n{limits}");
        let daemon = Daemon::with(&Setup { more, ..Setup::allowing_raw() }).unwrap();
        let channel = daemon.channel().await.unwrap();
        let signed = sign(&channel, "raw/one", Algorithm::Ed25519, 1000).await;
        Self { daemon, metrics, channel, signed }
    }

    pub(crate) fn metric(&self, name: &str) -> usize {
        metric(self.metrics, name).parse().unwrap()
    }
}
