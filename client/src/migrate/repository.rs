//! `trustctl migrate notary import repository`: a repository's trust data, read from the server that has it, and given
//! to the daemon, which believes it by itself once more and goes on behind it.

use bytes::Bytes;
use trust::Gun;
use trust_proto::v1;

use crate::command_line::migrate::ImportRepository;
use crate::context::Context;
use crate::failure::Failure;
use crate::trust_data::{Generation, generation};
use crate::trust_owner::TrustChange;
use crate::trust_server::TrustServerEntry;

/// Runs `trustctl migrate notary import repository`.
pub(super) async fn run(context: &Context, arguments: &ImportRepository) -> Result<(), Failure> {
    let gun = arguments.repository.gun()?;
    let named = arguments.from.as_ref().map(|url| TrustServerEntry::at(url.clone(), arguments.ca.clone(), &gun));
    let found = generation(context, named.as_ref(), &gun, arguments.trust_root.as_ref()).await;
    let typed = &arguments.repository.typed;
    let found = found.inspect_err(|_| {
        if gun.as_str() != typed {
            context
                .output
                .remark(&format!("{typed} was read as docker reads it, {gun}: --exact takes it as it stands"));
        }
    })?;
    let (server, root_keys, pinned) = (found.server.clone(), found.root_keys.join(", "), found.pinned);
    let daemon = context.daemon().await?;
    let answer = daemon.content_trust().adopt_trust(request(&gun, found)).await;
    let answer = answer.map_err(|status| {
        let remedy = "keys come first: `trustctl migrate notary import keys`; `trustctl trust inspect REPOSITORY` shows \
                      trust data that is there; which names are served says the daemon's configuration";
        Failure::from(status).refusal_remedied_by(remedy)
    })?;
    let about = format!("{gun} from {server}");
    let answer = answer.into_inner();
    let change = TrustChange::read("adopted", about, answer.change)?.with_snapshot_keys(answer.snapshot_keys);
    context.output.show(&change)?;
    let why = if pinned { "pinned root" } else { "the first root that was seen" };
    context.output.remark(&format!("  believed: {why} {root_keys}"));
    context.output.warning(&format!(
        "from now on nobody may publish to {server}: clients name this daemon (DOCKER_CONTENT_TRUST_SERVER)"
    ));
    if let Some([what, remedy]) = change.snapshot_words(&gun, &arguments.repository.words()) {
        context.output.warning(&what);
        context.output.remark(&remedy);
    }
    Ok(())
}

fn request(gun: &Gun, found: Generation) -> v1::AdoptTrustRequest {
    let file = |(role, file): (String, Vec<u8>)| v1::AdoptedFile { role, file: file.into() };
    v1::AdoptTrustRequest {
        repository: gun.to_string(),
        roots: found.roots.into_iter().map(Bytes::from).collect(),
        timestamp: found.timestamp.into(),
        snapshot: found.snapshot.into(),
        targets: found.targets.into_iter().map(file).collect(),
    }
}
