//! `trustctl migrate notary export`: every tag that content trust has signed, signed anew for another world.
//!
//! Trust data is read as `pull` reads it, and nothing else is believed. What is signed already is left alone, so the
//! registry itself is the memory of an export that was interrupted: it is run again.

mod report;

use std::process::ExitCode;

use trust::scope::RepositoryPattern;
use trust::{Malformed, Reference, Repository};

use self::report::{Report, RepositoryReport, TagReport};
use super::ended;
use crate::command_line::migrate::NotaryExport;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::image::Resigner;
use crate::trust_data::{self, SignedTag, SignedTags};
use crate::trust_server::TrustServerEntry;

/// Runs `trustctl migrate notary export`; refused where something was left behind, after the report.
pub(super) async fn run(context: &Context, arguments: &NotaryExport) -> Result<ExitCode, Failure> {
    let names = names(context, arguments).await?;
    let daemon = context.daemon().await?;
    let mut report = Report::new(arguments.to.clone());
    let mut is_cut_short = false;
    for name in names {
        let exported = match Repository::parse(&name) {
            Err(malformed) => RepositoryReport::failed(&name, &no_images(malformed)),
            Ok(_) if is_cut_short => RepositoryReport::failed(&name, &not_tried()),
            Ok(repository) => {
                let mut one = Export { context, daemon: &daemon, arguments, is_cut_short: false };
                let exported = one.repository(&repository).await;
                is_cut_short = one.is_cut_short;
                exported
            }
        };
        report.add(exported);
    }
    context.output.show(&report)?;
    Ok(ended(report.is_whole()))
}

/// The names of those that are named, or of all that the configured servers have, each once.
async fn names(context: &Context, arguments: &NotaryExport) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for typed in &arguments.repositories {
        names.push(Repository::normalise(typed)?.to_string());
    }
    if arguments.all {
        if context.config.trust_servers.is_empty() {
            return Err(Failure::usage(
                "no trust server is configured",
                "[[trust_servers]] in config.toml says where a repository's trust data is",
            ));
        }
        for entry in &context.config.trust_servers {
            match entry.pattern() {
                Some(RepositoryPattern::Exact(repository)) => names.push(repository.to_string()),
                Some(RepositoryPattern::Below(prefix)) => names.extend(listed(context, entry, prefix).await?),
                None => {}
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// What a server has below the prefix of its entry, without what the configuration looks for elsewhere.
async fn listed(context: &Context, entry: &TrustServerEntry, prefix: &str) -> Result<Vec<String>, Failure> {
    let is_elsewhere = |name: &String| {
        let Ok(repository) = Repository::parse(name) else { return false };
        let first = context.config.trust_servers.iter().find(|one| one.is_of(&repository));
        first.is_some_and(|first| !std::ptr::eq(first, entry))
    };
    let names = trust_data::listed(context, entry, prefix).await?;
    Ok(names.into_iter().filter(|name| !is_elsewhere(name)).collect())
}

fn no_images(malformed: Malformed) -> Failure {
    Failure::refused(
        "no repository of images has such a name",
        "it is a collection of other files: leave it with notary",
    )
    .because(malformed)
}

/// What keeps an export from going on is said once, where it happened.
fn not_tried() -> Failure {
    Failure::unreachable("not tried: the export had ended before", "run it again: what was carried over is left alone")
}

/// The export of one repository.
struct Export<'c> {
    context: &'c Context,
    daemon: &'c Daemon,
    arguments: &'c NotaryExport,
    /// Registry, trust server or daemon went away: each tag more would wait for it in vain.
    is_cut_short: bool,
}

impl<'c> Export<'c> {
    async fn repository(&mut self, repository: &Repository) -> RepositoryReport {
        match self.signed(repository).await {
            Ok((signed, resigner)) => {
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
            Err(failure) => {
                self.is_cut_short = failure.exit() == Exit::Unreachable;
                RepositoryReport::failed(repository.as_str(), &failure)
            }
        }
    }

    /// What is signed, and with which key it will be.
    async fn signed(&self, repository: &Repository) -> Result<(SignedTags, Resigner<'c>), Failure> {
        let signed = trust_data::tags(self.context, repository, self.arguments.trust_root.as_ref()).await?;
        let signed = signed.ok_or_else(|| {
            Failure::refused(
                format!("{repository} has no trust data"),
                "is it the right trust server? [[trust_servers]] in config.toml names it",
            )
        })?;
        let resigner = Resigner::choose(self.context, self.daemon, repository, &self.arguments.how).await?;
        Ok((signed, resigner))
    }

    async fn tag(&mut self, repository: &Repository, resigner: &Resigner<'_>, tag: &SignedTag) -> TagReport {
        let content = match &tag.content {
            Ok(content) => content,
            Err(why) => return TagReport::unusable(tag, why),
        };
        if self.is_cut_short {
            return TagReport::failed(tag, &not_tried());
        }
        let reference = Reference { repository: repository.clone(), tag: content.tag.clone() };
        match resigner.resign(&reference, &content.digest, content.length_bytes).await {
            Ok(resigned) => TagReport::done(tag, resigned),
            Err(failure) => {
                self.is_cut_short = failure.exit() == Exit::Unreachable;
                TagReport::failed(tag, &failure)
            }
        }
    }
}
