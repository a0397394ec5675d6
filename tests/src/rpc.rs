//! Every method of `trust.v1`, found in the descriptors and called by its path: what a test must do for all of them
//! cannot forget a new one.

use std::future::poll_fn;

use anyhow::{Context, Result};
use http_body_util::Full;
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

/// A method of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `Keys`, without its package.
    pub service: String,
    /// `CreateKey`.
    pub name: String,
    /// True where the request says which kept key is meant.
    pub names_key: bool,
}

impl Method {
    /// `Keys/CreateKey`, as the documents write it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.service, self.name)
    }

    fn path(&self) -> Result<PathAndQuery> {
        let path = format!("/trust.v1.{}/{}", self.service, self.name);
        path.parse().with_context(|| format!("{path} is no path"))
    }
}

/// Every method of package `trust.v1`, in the order of the files.
///
/// # Errors
/// When the descriptors cannot be read.
pub fn methods() -> Result<Vec<Method>> {
    let set = FileDescriptorSet::decode(trust_proto::v1::DESCRIPTORS).context("read the descriptors")?;
    let messages: Vec<&DescriptorProto> =
        set.file.iter().filter(|file| file.package() == "trust.v1").flat_map(|file| &file.message_type).collect();
    let mut found = Vec::new();
    for file in set.file.iter().filter(|file| file.package() == "trust.v1") {
        for service in &file.service {
            for method in &service.method {
                found.push(Method {
                    service: service.name().to_owned(),
                    name: method.name().to_owned(),
                    names_key: names_key(&messages, method.input_type(), 4),
                });
            }
        }
    }
    Ok(found)
}

/// Whether a message has a text field `key`, itself or in a message inside it.
fn names_key(messages: &[&DescriptorProto], kind: &str, depth: usize) -> bool {
    use prost_types::field_descriptor_proto::Type;
    let short = kind.rsplit('.').next().unwrap_or_default();
    let Some(message) = messages.iter().find(|message| message.name() == short) else { return false };
    message.field.iter().any(|field| match field.r#type() {
        Type::String => field.name() == "key",
        Type::Message => depth > 0 && names_key(messages, field.type_name(), depth - 1),
        _ => false,
    })
}

/// What came back, to the byte; only the date is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub code: Code,
    /// Its words.
    pub message: String,
    /// Its details.
    pub details: Vec<u8>,
    /// Its metadata, as `name: value`, sorted.
    pub metadata: Vec<String>,
    /// Every message before it.
    pub bodies: Vec<Bytes>,
}

impl Answer {
    fn new(status: &Status, bodies: Vec<Bytes>) -> Self {
        let mut metadata: Vec<String> = status
            .metadata()
            .clone()
            .into_headers()
            .iter()
            .filter(|(name, _)| name.as_str() != "date")
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        metadata.sort();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
            metadata,
            bodies,
        }
    }
}

/// Calls a method with an encoded request and waits for the end, whether it streams or not.
///
/// # Errors
/// When the connection is not there; whatever the daemon says is an [`Answer`].
pub async fn call(channel: &Channel, method: &Method, request: Vec<u8>) -> Result<Answer> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.context("reach the daemon")?;
    let started = client.server_streaming(Request::new(Bytes::from(request)), method.path()?, Raw).await;
    match started {
        Ok(response) => Ok(collect(response.into_inner()).await),
        Err(status) => Ok(Answer::new(&status, Vec::new())),
    }
}

async fn collect(mut stream: Streaming<Bytes>) -> Answer {
    let mut bodies = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(body)) => bodies.push(body),
            Ok(None) => return Answer::new(&Status::ok(""), bodies),
            Err(status) => return Answer::new(&status, bodies),
        }
    }
}

/// Posts `body`, frames and all, to a method and waits for the end of its answer: what no client would send.
///
/// # Errors
/// When the connection is not there.
pub async fn post_frames(channel: &Channel, method: &Method, body: Vec<u8>) -> Result<Answer> {
    let mut channel = channel.clone();
    poll_fn(|context| channel.poll_ready(context)).await.context("reach the daemon")?;
    let request = http::Request::post(method.path()?.as_str())
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .body(tonic::body::Body::new(Full::new(Bytes::from(body))))
        .context("a request")?;
    let response = channel.call(request).await.context("post the request")?;
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Ok(Answer::new(&status, Vec::new()));
    }
    let status = response.status();
    Ok(collect(Streaming::new_response(Raw, response.into_body(), status, None, None)).await)
}

/// Bytes as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_that_name_a_key_are_found() {
        let methods = methods().unwrap();
        let names_key = |label: &str| {
            methods.iter().find(|method| method.label() == label).unwrap_or_else(|| panic!("no {label}")).names_key
        };

        assert!(methods.len() >= 20, "{methods:?}");
        assert!(names_key("Keys/GetKey") && names_key("Signing/SignBatch") && names_key("Verification/VerifyBatch"));
        assert!(!names_key("Keys/ListKeys") && !names_key("Audit/ListEntries") && !names_key("Keys/CreateKey"));
    }
}
