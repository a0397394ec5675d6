//! `trustctl migrate notary import repository`: a repository's trust data, read from the server that has it, and given
//! to the daemon, which believes it by itself once more and goes on behind it.

use bytes::Bytes;
use trust::Repository;
use trust_proto::v1;

use crate::command_line::migrate::ImportRepository;
use crate::context::Context;
use crate::failure::Failure;
use crate::trust_data::{Generation, generation};
use crate::trust_owner::TrustChange;
use crate::trust_server::TrustServerEntry;

/// Runs `trustctl migrate notary import repository`.
pub(super) async fn run(context: &Context, arguments: &ImportRepository) -> Result<(), Failure> {
    let repository = Repository::normalise(&arguments.repository)?;
    let named = arguments.from.as_ref().map(|url| TrustServerEntry::at(url.clone(), arguments.ca.clone(), &repository));
    let found = generation(context, named.as_ref(), &repository, arguments.trust_root.as_ref()).await?;
    let (server, root_keys, pinned) = (found.server.clone(), found.root_keys.join(", "), found.pinned);
    let daemon = context.daemon().await?;
    let answer = daemon.content_trust().adopt_trust(request(&repository, found)).await;
    let answer = answer.map_err(|status| {
        let remedy = "keys come first: `trustctl migrate notary import keys`; `trustctl trust inspect REPOSITORY` shows \
                      trust data that is there; which names are served says the daemon's configuration";
        Failure::from(status).refusal_remedied_by(remedy)
    })?;
    let about = format!("{repository} from {server}");
    let answer = answer.into_inner();
    let change = TrustChange::read("adopted", about, answer.change)?.with_snapshot_keys(answer.snapshot_keys);
    context.output.show(&change)?;
    let why = if pinned { "pinned root" } else { "the first root that was seen" };
    context.output.remark(&format!("  believed: {why} {root_keys}"));
    context.output.warning(&format!(
        "from now on nobody may publish to {server}: clients name this daemon (DOCKER_CONTENT_TRUST_SERVER)"
    ));
    if let Some([what, remedy]) = change.snapshot_words(repository.as_str()) {
        context.output.warning(&what);
        context.output.remark(&remedy);
    }
    Ok(())
}

fn request(repository: &Repository, found: Generation) -> v1::AdoptTrustRequest {
    let file = |(role, file): (String, Vec<u8>)| v1::AdoptedFile { role, file: file.into() };
    v1::AdoptTrustRequest {
        repository: repository.to_string(),
        roots: found.roots.into_iter().map(Bytes::from).collect(),
        timestamp: found.timestamp.into(),
        snapshot: found.snapshot.into(),
        targets: found.targets.into_iter().map(file).collect(),
    }
}
