//! Asks the daemon to sign "this manifest is that reference", and holds what comes back against what was asked.
//!
//! The manifests' bytes travel: the daemon hashes them itself (D2).

use bytes::Bytes;
use trust::format::cosign::ImageStatement;
use trust::{Algorithm, Form, PublicKey, Reference, Signable, Signature, verify};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::judge;
use super::manifests::Instance;
use crate::connect::Daemon;
use crate::failure::Failure;
use crate::repeat::{idempotency_key, until_answered};

/// One request holds no more: the daemon takes 8 MiB and 4096 items where it is not configured otherwise.
const REQUEST_BYTES_MAX: usize = 6 * 1024 * 1024;
const REQUEST_ITEMS_MAX: usize = 1024;

/// What is to be signed, and how.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The canonical name.
    pub(crate) reference: Reference,
    /// The key, by name or id.
    pub(crate) key: String,
    /// Empty: all forms that the key has.
    pub(crate) forms: Vec<Form>,
}

/// One manifest with its signatures.
#[derive(Debug)]
pub(crate) struct Signed<'m> {
    /// What was signed.
    pub(crate) instance: &'m Instance,
    /// The key that signed.
    pub(crate) key: PublicKey,
    /// One for each form.
    pub(crate) forms: Vec<SignedForm>,
}

/// One signature.
#[derive(Debug)]
pub(crate) struct SignedForm {
    pub(crate) form: Form,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Signature,
}

/// Where the evidence stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Evidence {
    pub(crate) log_origin: String,
    pub(crate) leaf: u64,
    pub(crate) key_id: String,
    pub(crate) key_version: u32,
}

/// Signs every manifest; all of them in one batch where they fit into one request.
///
/// # Errors
/// What the daemon says; and when its answer is not what was asked for.
pub(crate) async fn sign<'m>(
    daemon: &Daemon,
    order: &Order,
    instances: &'m [Instance],
) -> Result<(Vec<Signed<'m>>, Vec<Evidence>), Failure> {
    let mut signed = Vec::new();
    let mut evidence = Vec::new();
    let mut rest = instances;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(fitting(rest));
        let answer = ask(daemon, order, part).await?;
        evidence.push(read_receipt(answer.receipt)?);
        let algorithm = Algorithm::from_wire(answer.algorithm)?;
        let key =
            PublicKey::from_spki_der(algorithm, &answer.spki_der).map_err(|malformed| wrong(&malformed.to_string()))?;
        if answer.items.len() != part.len() {
            return Err(wrong("another number of items"));
        }
        for (instance, item) in part.iter().zip(answer.items) {
            if !item.failure.is_empty() {
                return Err(Failure::other(
                    format!("the daemon did not sign {}: {}", instance.manifest.digest, item.failure),
                    "nothing was written to the registry; try again",
                ));
            }
            let forms = item.signatures.into_iter().map(|form| read_form(order, instance, &key, form));
            let forms: Vec<SignedForm> = forms.collect::<Result<_, _>>()?;
            if forms.is_empty() || !order.forms.iter().all(|asked| forms.iter().any(|form| form.form == *asked)) {
                return Err(wrong("not every form that was asked for"));
            }
            signed.push(Signed { instance, key: key.clone(), forms });
        }
        rest = after;
    }
    Ok((signed, evidence))
}

/// How many of them go into one request: at least one.
fn fitting(instances: &[Instance]) -> usize {
    let mut bytes: usize = 0;
    let fits = |instance: &&Instance| {
        bytes = bytes.saturating_add(instance.manifest.bytes.len());
        bytes <= REQUEST_BYTES_MAX
    };
    instances.iter().take(REQUEST_ITEMS_MAX).take_while(fits).count().clamp(1, instances.len().max(1))
}

/// An answer in the shape that both RPCs share.
struct Answer {
    receipt: Option<v1::Receipt>,
    spki_der: Bytes,
    algorithm: i32,
    items: Vec<v1::SignedItem>,
}

async fn ask(daemon: &Daemon, order: &Order, part: &[Instance]) -> Result<Answer, Failure> {
    let forms: Vec<i32> = order.forms.iter().map(|form| form.to_wire()).collect();
    let mut statements: Vec<v1::Statement> = part.iter().map(|instance| statement(order, instance)).collect();
    if let [only] = statements.as_mut_slice() {
        let request = v1::SignRequest {
            key: order.key.clone(),
            statement: Some(std::mem::take(only)),
            forms,
            idempotency_key: idempotency_key()?,
            ..v1::SignRequest::default()
        };
        let answer = until_answered(async || daemon.signing().sign(request.clone()).await).await?;
        let items = vec![v1::SignedItem { signatures: answer.signatures, failure: String::new() }];
        return Ok(Answer { receipt: answer.receipt, spki_der: answer.spki_der, algorithm: answer.algorithm, items });
    }
    let request = v1::SignBatchRequest {
        key: order.key.clone(),
        items: Some(v1::sign_batch_request::Items::Statements(v1::StatementList { statements })),
        forms,
        idempotency_key: idempotency_key()?,
    };
    let answer = until_answered(async || daemon.signing().sign_batch(request.clone()).await).await?;
    let Some(v1::sign_batch_response::Items::List(list)) = answer.items else {
        return Err(wrong("no list of items"));
    };
    Ok(Answer { receipt: answer.receipt, spki_der: answer.spki_der, algorithm: answer.algorithm, items: list.items })
}

fn statement(order: &Order, instance: &Instance) -> v1::Statement {
    let evidence = v1::image_statement::Evidence::Manifest(Bytes::copy_from_slice(&instance.manifest.bytes));
    let image = v1::ImageStatement { reference: order.reference.to_string(), evidence: Some(evidence) };
    v1::Statement { kind: Some(v1::statement::Kind::Image(image)) }
}

/// A signature is published only if it says what we asked for and verifies: a wrong one would look like an attack.
fn read_form(order: &Order, instance: &Instance, key: &PublicKey, wire: v1::SignedForm) -> Result<SignedForm, Failure> {
    let form = Form::from_wire(wire.form)?;
    let statement = ImageStatement { reference: order.reference.clone(), digest: instance.manifest.digest };
    let expected = statement.preimage(form)?;
    if wire.payload != expected.payload {
        return Err(wrong(&format!("another statement in the form {}", judge::form(form))));
    }
    verify::one(key, &Signable::Message(expected.signed), &wire.signature)
        .map_err(|error| wrong(&error.to_string()))?;
    let signature = Signature::new(key.algorithm(), wire.signature.to_vec())?;
    Ok(SignedForm { form, payload: expected.payload, signature })
}

fn read_receipt(receipt: Option<v1::Receipt>) -> Result<Evidence, Failure> {
    let receipt = receipt.ok_or_else(|| wrong("no receipt"))?;
    Ok(Evidence {
        log_origin: receipt.log_origin,
        leaf: receipt.leaf,
        key_id: receipt.key_id,
        key_version: receipt.key_version,
    })
}

fn wrong(why: &str) -> Failure {
    Failure::refused(
        format!("the daemon's answer is not what was asked for: {why}"),
        "nothing was written to the registry; are trustctl and trustd of the same version?",
    )
}
