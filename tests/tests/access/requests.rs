//! For each method one request that a principal who may is allowed.

use prost::Message;
use prost::bytes::Bytes;
use trust_proto::v1::{
    AddDelegationRequest, AdoptKeyRequest, AdoptTrustRequest, AdoptedFile, Algorithm, ApproveProposalRequest,
    BackupRequest, BatchKey, ChangeUseRequest, CreateKeyRequest, DistrustKeyRequest, DistrustReason, DoctorRequest,
    Form, GetCheckpointRequest, GetConsistencyProofRequest, GetInclusionProofRequest, GetKeyRequest, GetStatusRequest,
    ImageStatement, ImportKeyRequest, ImportedKey, InitTrustRequest, InspectTrustRequest, ListEntriesRequest,
    ListKeksRequest, ListKeysRequest, ListOrphansRequest, ListTokensRequest, ListTrustedKeysRequest, LoginRequest,
    MaySignRequest, OfferImportRequest, Purpose, RemoveDelegationRequest, RevokeTargetRequest, RotateKekRequest,
    RotateKeyRequest, RotateTrustRequest, SealRequest, SignBatchRequest, SignRequest, SignTargetRequest, Statement,
    StatementList, UnsealRequest, UseChange, VerifyBatchRequest, VerifyRequest, WithdrawProposalRequest,
    WitnessTrustRequest, batch_key, image_statement, sign_batch_request, statement, verify_batch_request,
    verify_request,
};
use trust_tests::rpc::Method;

use crate::scene::PASSPHRASE;

/// An image manifest that daemons take.
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;

/// The repository of trust data that the requests are about, and its tag.
pub(crate) const REPOSITORY: &str = "r.example/acme/app";
const TAG: &str = "1.0";
/// A role of it that may be taken away.
pub(crate) const DELEGATION: &str = "targets/leaving";

/// A request to let a role sign, with a new key, and no tag that there is.
pub(crate) fn delegation(name: &str) -> AddDelegationRequest {
    let (repository, name, paths) = (REPOSITORY.to_owned(), name.to_owned(), vec!["never".to_owned()]);
    AddDelegationRequest { repository, name, paths, ..AddDelegationRequest::default() }
}

/// A request to sign its tag.
pub(crate) fn sign_target() -> SignTargetRequest {
    let (repository, tag) = (REPOSITORY.to_owned(), TAG.to_owned());
    SignTargetRequest { repository, tag, manifest: MANIFEST.into(), ..SignTargetRequest::default() }
}

/// A request of `method` about `key`, encoded. A method that is not here has no row in the table either.
pub(crate) fn request(method: &Method, key: &str) -> Vec<u8> {
    let key = key.to_owned();
    match method.label().as_str() {
        "Admin/GetStatus" => GetStatusRequest {}.encode_to_vec(),
        "Admin/Unseal" => UnsealRequest { passphrase: PASSPHRASE.into(), by_token: false }.encode_to_vec(),
        "Admin/Seal" => SealRequest {}.encode_to_vec(),
        "Admin/ListKeks" => ListKeksRequest {}.encode_to_vec(),
        "Admin/RotateKek" => RotateKekRequest::default().encode_to_vec(),
        "Admin/Backup" => BackupRequest {}.encode_to_vec(),
        "Audit/GetCheckpoint" => GetCheckpointRequest {}.encode_to_vec(),
        "Audit/GetInclusionProof" => GetInclusionProofRequest { leaf: 0 }.encode_to_vec(),
        "Audit/GetConsistencyProof" => GetConsistencyProofRequest { from_size: 1, to_size: 2 }.encode_to_vec(),
        "Audit/ListEntries" => ListEntriesRequest::default().encode_to_vec(),
        // What has trust data takes over none.
        "ContentTrust/AdoptTrust" => {
            let (repository, some) = (REPOSITORY.to_owned(), || Bytes::from_static(b"{}"));
            let targets = vec![AdoptedFile { role: "targets".to_owned(), file: some() }];
            AdoptTrustRequest { repository, roots: vec![some()], timestamp: some(), snapshot: some(), targets }
                .encode_to_vec()
        }
        // Each of its own: what has trust data is begun once.
        "ContentTrust/InitTrust" => InitTrustRequest { repository: key, ..InitTrustRequest::default() }.encode_to_vec(),
        "ContentTrust/SignTarget" => sign_target().encode_to_vec(),
        "ContentTrust/RevokeTarget" => {
            let (repository, tag) = (REPOSITORY.to_owned(), TAG.to_owned());
            RevokeTargetRequest { repository, tag, ..RevokeTargetRequest::default() }.encode_to_vec()
        }
        "ContentTrust/InspectTrust" => {
            InspectTrustRequest { repository: REPOSITORY.to_owned(), ..InspectTrustRequest::default() }.encode_to_vec()
        }
        // Each a role of its own, which signs no tag of the others' requests.
        "ContentTrust/AddDelegation" => {
            delegation(&format!("targets/{}", key.rsplit('/').next().unwrap_or_default())).encode_to_vec()
        }
        "ContentTrust/RemoveDelegation" => {
            let (repository, name) = (REPOSITORY.to_owned(), DELEGATION.to_owned());
            RemoveDelegationRequest { repository, name, ..RemoveDelegationRequest::default() }.encode_to_vec()
        }
        "ContentTrust/RotateTrust" => {
            let (repository, role) = (REPOSITORY.to_owned(), "targets".to_owned());
            RotateTrustRequest { repository, role, ..RotateTrustRequest::default() }.encode_to_vec()
        }
        "ContentTrust/WitnessTrust" => {
            let (repository, roles) = (REPOSITORY.to_owned(), vec!["targets".to_owned()]);
            WitnessTrustRequest { repository, roles }.encode_to_vec()
        }
        "ContentTrust/ApproveProposal" => {
            let (repository, digest) = (REPOSITORY.to_owned(), format!("sha256:{}", "0".repeat(64)));
            ApproveProposalRequest { repository, digest, ..ApproveProposalRequest::default() }.encode_to_vec()
        }
        "ContentTrust/WithdrawProposal" => {
            let (repository, digest) = (REPOSITORY.to_owned(), format!("sha256:{}", "0".repeat(64)));
            WithdrawProposalRequest { repository, digest }.encode_to_vec()
        }
        "Hsm/Doctor" => {
            DoctorRequest { token: "hsm".to_owned(), sessions_max: 1, ..DoctorRequest::default() }.encode_to_vec()
        }
        "Hsm/ListOrphans" => ListOrphansRequest::default().encode_to_vec(),
        "Hsm/ListTokens" => ListTokensRequest {}.encode_to_vec(),
        "Hsm/Login" => LoginRequest { token: "hsm".to_owned(), pin: "7364".into() }.encode_to_vec(),
        "Keys/CreateKey" => create(&format!("{key}-new")).encode_to_vec(),
        "Keys/OfferImport" => OfferImportRequest { imported: imported(&format!("{key}-offer")) }.encode_to_vec(),
        // An offer that nobody made: whoever may import is told so.
        "Keys/ImportKey" => import_encoded(&format!("{key}-import")),
        // A token that these daemons do not have: whoever may adopt is told so.
        "Keys/AdoptKey" => adopt_encoded(&format!("{key}-adopt")),
        "Keys/GetKey" => GetKeyRequest { key }.encode_to_vec(),
        "Keys/ListKeys" => ListKeysRequest::default().encode_to_vec(),
        "Keys/RotateKey" => RotateKeyRequest { key, ..RotateKeyRequest::default() }.encode_to_vec(),
        "Keys/ChangeUse" => {
            ChangeUseRequest { key, change: UseChange::Disable.into(), ..ChangeUseRequest::default() }.encode_to_vec()
        }
        "Keys/DistrustKey" => {
            let reason = DistrustReason::Superseded.into();
            DistrustKeyRequest { key, reason, ..DistrustKeyRequest::default() }.encode_to_vec()
        }
        "Signing/Sign" => sign_tag(&key, "1.0"),
        "Signing/SignBatch" => {
            let statements = vec![image("1.0"), image("1.1")];
            let items = Some(sign_batch_request::Items::Statements(StatementList { statements }));
            SignBatchRequest { key, items, ..SignBatchRequest::default() }.encode_to_vec()
        }
        "Signing/MaySign" => MaySignRequest { key, reference: "r.example/acme/app:1.0".to_owned() }.encode_to_vec(),
        "Verification/Verify" => verify(key).encode_to_vec(),
        "Verification/VerifyBatch" | "Verification/VerifyStream" => verify_batch(key).encode_to_vec(),
        "Verification/ListTrustedKeys" => ListTrustedKeysRequest {
            repository: "r.example/acme/app".to_owned(),
            purpose: Purpose::Image.into(),
            ..ListTrustedKeysRequest::default()
        }
        .encode_to_vec(),
        label => panic!("{label} is new: give it a request here and a row in docs/permissions.md"),
    }
}

/// An Ed25519 key for images of `r.example/acme/*`.
pub(crate) fn create(name: &str) -> CreateKeyRequest {
    CreateKeyRequest {
        name: name.to_owned(),
        purpose: Purpose::Image.into(),
        algorithm: Algorithm::Ed25519.into(),
        scope: vec!["r.example/acme/*".to_owned()],
        ..CreateKeyRequest::default()
    }
}

/// A request to import such a key, sealed to an offer that nobody made.
pub(crate) fn import_encoded(name: &str) -> Vec<u8> {
    ImportKeyRequest {
        imported: imported(name),
        offer_id: "a5".repeat(16),
        envelope: vec![7; 100].into(),
        ..ImportKeyRequest::default()
    }
    .encode_to_vec()
}

/// The same, to be imported.
fn imported(name: &str) -> Option<ImportedKey> {
    let CreateKeyRequest { name, purpose, algorithm, scope, forms, token, .. } = create(name);
    Some(ImportedKey { name, purpose, algorithm, scope, forms, token })
}

/// A request to adopt such a key in a token that no daemon here has.
pub(crate) fn adopt_encoded(name: &str) -> Vec<u8> {
    let CreateKeyRequest { name, purpose, algorithm, scope, .. } = create(name);
    let (token, id) = ("hsm".to_owned(), vec![1].into());
    AdoptKeyRequest { name, purpose, algorithm, scope, token, id, ..AdoptKeyRequest::default() }.encode_to_vec()
}

/// [`create`], encoded.
pub(crate) fn create_encoded(name: &str) -> Vec<u8> {
    create(name).encode_to_vec()
}

/// A key for images of an algorithm that no image's verifier takes.
pub(crate) fn create_impossible(name: &str) -> Vec<u8> {
    CreateKeyRequest { algorithm: Algorithm::Rsa3072PssSha256.into(), ..create(name) }.encode_to_vec()
}

/// A request to sign an image in the form of raw keys.
pub(crate) fn sign_raw_form(key: &str) -> Vec<u8> {
    let (statement, forms) = (Some(image("1.0")), vec![Form::Raw.into()]);
    SignRequest { key: key.to_owned(), statement, forms, ..SignRequest::default() }.encode_to_vec()
}

/// The method of [`sign_tag`].
pub(crate) fn sign() -> Method {
    Method { service: "Signing".to_owned(), name: "Sign".to_owned(), names_key: true }
}

/// A request to sign an image of that tag, shown by its manifest.
pub(crate) fn sign_tag(key: &str, tag: &str) -> Vec<u8> {
    SignRequest { key: key.to_owned(), statement: Some(image(tag)), ..SignRequest::default() }.encode_to_vec()
}

fn image(tag: &str) -> Statement {
    let evidence = Some(image_statement::Evidence::Manifest(MANIFEST.into()));
    let reference = format!("r.example/acme/app:{tag}");
    Statement { kind: Some(statement::Kind::Image(ImageStatement { reference, evidence })) }
}

fn verify(key: String) -> VerifyRequest {
    VerifyRequest {
        key,
        input: Some(verify_request::Input::Message("m".into())),
        signature: vec![7; 64].into(),
        ..VerifyRequest::default()
    }
}

fn verify_batch(key: String) -> VerifyBatchRequest {
    VerifyBatchRequest {
        keys: vec![BatchKey { kind: Some(batch_key::Kind::Key(key)) }],
        messages: Some(verify_batch_request::Messages::Items32(vec![1; 64].into())),
        signatures: vec![7; 128].into(),
        ..VerifyBatchRequest::default()
    }
}
