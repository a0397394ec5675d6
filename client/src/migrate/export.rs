//! `trustctl migrate notary export`: every tag that content trust has signed, signed anew for another world.
//!
//! Trust data is read as `pull` reads it, and nothing else is believed. What is signed already is left alone, so the
//! registry itself is the memory of an export that was interrupted: it is run again. Where one registry or trust server is
//! away, or says no, the repositories of the others are exported all the same.

mod report;
mod silence;

use std::collections::BTreeSet;
use std::process::ExitCode;

use trust::scope::RepositoryPattern;
use trust::{Malformed, Reference, Repository};

use self::report::{Report, RepositoryReport, TagReport};
use self::silence::{Peer, Silences};
use super::ended;
use crate::command_line::migrate::NotaryExport;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::image::{Resigned, Resigner};
use crate::trust_data::{self, SignedTag, SignedTags};
use crate::trust_server::TrustServerEntry;

/// Runs `trustctl migrate notary export`; refused where something was left behind, after the report.
pub(super) async fn run(context: &Context, arguments: &NotaryExport) -> Result<ExitCode, Failure> {
    let daemon = context.daemon().await?;
    let report = Report::new(arguments.to.clone());
    let mut export = Export { context, daemon: &daemon, arguments, report, silences: Silences::default() };
    for name in export.names().await? {
        let exported = match Repository::parse(&name) {
            Err(malformed) => RepositoryReport::failed(&name, &no_images(malformed)),
            Ok(repository) => export.repository(&repository).await,
        };
        export.report.add(exported);
    }
    context.output.show(&export.report)?;
    Ok(ended(export.report.is_whole()))
}

fn no_images(malformed: Malformed) -> Failure {
    Failure::refused(
        "no repository of images has such a name",
        "it is a collection of other files: leave it with notary",
    )
    .because(malformed)
}

/// An export.
struct Export<'c> {
    context: &'c Context,
    daemon: &'c Daemon,
    arguments: &'c NotaryExport,
    /// What has become of it so far.
    report: Report,
    silences: Silences,
}

impl<'c> Export<'c> {
    /// The names of those that are named, or of all that the configured servers have, each once. A server that does not
    /// list them is on the report.
    async fn names(&mut self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for typed in &self.arguments.repositories {
            names.push(Repository::normalise(typed)?.to_string());
        }
        if self.arguments.all {
            let entries = &self.context.config.trust_servers;
            if entries.is_empty() {
                return Err(Failure::usage(
                    "no trust server is configured",
                    "[[trust_servers]] in config.toml says where a repository's trust data is",
                ));
            }
            for entry in entries {
                match entry.pattern() {
                    Some(RepositoryPattern::Exact(repository)) => names.push(repository.to_string()),
                    Some(RepositoryPattern::Below(prefix)) => match self.listed(entry, prefix).await {
                        Ok(found) => names.extend(found),
                        Err(failure) => self.report.add(RepositoryReport::failed(&format!("{prefix}/*"), &failure)),
                    },
                    None => {}
                }
            }
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }

    /// What a server has below the prefix of its entry, without what the configuration looks for elsewhere.
    async fn listed(&mut self, entry: &TrustServerEntry, prefix: &str) -> Result<Vec<String>, Failure> {
        let entries = &self.context.config.trust_servers;
        let is_elsewhere = |name: &String| {
            let Ok(repository) = Repository::parse(name) else { return false };
            let first = entries.iter().find(|one| one.is_of(&repository));
            first.is_some_and(|first| !std::ptr::eq(first, entry))
        };
        let server = Peer::trust_server(entry);
        self.silences.worth_asking(std::slice::from_ref(&server))?;
        let names = trust_data::listed(self.context, entry, prefix).await;
        self.silences.note(server, &names);
        Ok(names?.into_iter().filter(|name| !is_elsewhere(name)).collect())
    }

    async fn repository(&mut self, repository: &Repository) -> RepositoryReport {
        let (signed, resigner) = match self.signed(repository).await {
            Ok(both) => both,
            Err(failure) => return RepositoryReport::failed(repository.as_str(), &failure),
        };
        let mut report = RepositoryReport::of(repository, resigner.key(), &signed);
        let total = u64::try_from(signed.tags.len()).unwrap_or_default();
        let bar = self.context.output.progress(total, repository.as_str());
        for tag in &signed.tags {
            report.tags.push(self.tag(repository, &resigner, tag).await);
            bar.inc(1);
        }
        bar.finish_and_clear();
        report
    }

    /// What is signed, and with which key it will be. Nothing is read in vain: of a repository whose registry is away no
    /// trust data either.
    async fn signed(&mut self, repository: &Repository) -> Result<(SignedTags, Resigner<'c>), Failure> {
        let entry = self.context.config.trust_servers.iter().find(|entry| entry.is_of(repository));
        let server = entry.map(Peer::trust_server);
        let peers = [Peer::Daemon, Peer::registry_of(repository)];
        self.silences.worth_asking(&peers.into_iter().chain(server.clone()).collect::<Vec<_>>())?;
        let signed = trust_data::tags(self.context, repository, self.arguments.trust_root.as_ref()).await;
        if let Some(server) = server {
            self.silences.note(server, &signed);
        }
        let signed = signed?.ok_or_else(|| {
            Failure::refused(
                format!("{repository} has no trust data"),
                "is it the right trust server? [[trust_servers]] in config.toml names it",
            )
        })?;
        let resigner = Resigner::choose(self.context, self.daemon, repository, &self.arguments.how).await;
        self.silences.note(Peer::Daemon, &resigner);
        Ok((signed, resigner?))
    }

    async fn tag(&mut self, repository: &Repository, resigner: &Resigner<'_>, tag: &SignedTag) -> TagReport {
        let content = match &tag.content {
            Ok(content) => content,
            Err(why) => return TagReport::unusable(tag, why),
        };
        let (registry, place) = (Peer::registry_of(repository), Peer::Repository(repository.to_string()));
        if let Err(failure) = self.silences.worth_asking(&[Peer::Daemon, registry.clone(), place.clone()]) {
            return TagReport::failed(tag, &failure);
        }
        let reference = Reference { repository: repository.clone(), tag: content.tag.clone() };
        let resigned = resigner.resign(&reference, &content.digest, content.length_bytes).await;
        self.note(&resigned, registry, place);
        match resigned {
            Ok(resigned) => TagReport::done(tag, resigned),
            Err(failure) => TagReport::failed(tag, &failure),
        }
    }

    /// Notes who did what was asked. The registry is asked what it has, then the daemon to sign what is left to be signed,
    /// and then the registry to take that.
    fn note(&mut self, resigned: &Result<Resigned, Failure>, registry: Peer, place: Peer) {
        let silences = &mut self.silences;
        match resigned {
            Ok(Resigned::Now(_)) => {
                for peer in [Peer::Daemon, registry, place] {
                    silences.went_well(&peer);
                }
            }
            Ok(Resigned::Already) => silences.went_well(&registry),
            Err(failure) => match (failure.exit(), failure.is_of_registry()) {
                (Exit::Unreachable, true) => silences.failed(registry),
                (Exit::Unreachable, false) => silences.failed(Peer::Daemon),
                // It lets us not in, or does not take signatures: most of that is seen when they are made already.
                (Exit::Other, true) => silences.failed(place),
                _ => silences.went_well(&registry),
            },
        }
    }
}
