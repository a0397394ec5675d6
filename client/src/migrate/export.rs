//! `trustctl migrate notary export`: every tag that content trust has signed, signed anew for another world.
//!
//! Trust data is read as `pull` reads it, and nothing else is believed. What is signed already is left alone, so the
//! registry itself is the memory of an export that was interrupted: it is run again.

mod report;

use std::process::ExitCode;

use trust::scope::RepositoryPattern;
use trust::{Reference, Repository};

use self::report::{Report, RepositoryReport, TagReport};
use super::ended;
use crate::command_line::migrate::NotaryExport;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::image::Resigner;
use crate::trust_data::{self, SignedTag, SignedTags};

/// Runs `trustctl migrate notary export`; refused where something was left behind, after the report.
pub(super) async fn run(context: &Context, arguments: &NotaryExport) -> Result<ExitCode, Failure> {
    let repositories = repositories(context, arguments)?;
    let daemon = context.daemon().await?;
    let mut report = Report::new(arguments.to.clone());
    let mut is_cut_short = false;
    for repository in repositories {
        let exported = if is_cut_short {
            RepositoryReport::failed(&repository, &not_tried())
        } else {
            let mut one = Export { context, daemon: &daemon, arguments, is_cut_short: false };
            let exported = one.repository(&repository).await;
            is_cut_short = one.is_cut_short;
            exported
        };
        report.add(exported);
    }
    context.output.show(&report)?;
    Ok(ended(report.is_whole()))
}

/// Those that are named, or all that the configuration names.
fn repositories(context: &Context, arguments: &NotaryExport) -> Result<Vec<Repository>, Failure> {
    let mut repositories = Vec::new();
    for typed in &arguments.repositories {
        repositories.push(Repository::normalise(typed)?);
    }
    if arguments.all {
        for entry in &context.config.trust_servers {
            match entry.pattern() {
                Some(RepositoryPattern::Exact(repository)) => repositories.push(repository.clone()),
                Some(RepositoryPattern::Below(_)) | None => {
                    return Err(Failure::usage(
                        format!("which repositories {} has is not known here", entry.repository),
                        "name them, in place of --all",
                    ));
                }
            }
        }
        if repositories.is_empty() {
            return Err(Failure::usage(
                "no trust server is configured",
                "[[trust_servers]] in config.toml says where a repository's trust data is",
            ));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    repositories.retain(|repository| seen.insert(repository.clone()));
    Ok(repositories)
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
                RepositoryReport::failed(repository, &failure)
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
