//! `pull` and `run`: verified here, then fetched by digest and by nothing else.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::target::Target;
use super::verify::{Verified, verify};
use crate::command_line::image::{PullArguments, RunArguments};
use crate::content_trust::ContentTrust;
use crate::context::Context;
use crate::engine::{Engine, RunLine, Transport};
use crate::failure::{Exit, Failure};
use crate::output::{Format, Paint, Shown};
use crate::registry::{Access, Registry};

/// What was pulled.
#[derive(Debug, Serialize)]
struct Pulled {
    /// What the engine knows it by: with its tag, or by its digest.
    pulled: String,
    engine: &'static str,
    #[serde(flatten)]
    trust: Trusted,
}

/// Whether it was verified.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Trusted {
    Unverified { verified: bool, reason: &'static str },
    Verified(Box<Verified>),
}

const OFF: &str = "content trust is off";

impl Shown for Pulled {
    fn text(&self, paint: Paint) -> String {
        match &self.trust {
            Trusted::Unverified { .. } => {
                format!("{} {} {}", paint.bad("pulled"), self.pulled, paint.bad("(not verified)"))
            }
            // What was verified and why was said before the pull.
            Trusted::Verified(verified) => format!("{} {}", paint.good("pulled"), verified.exactly()),
        }
    }
}

/// `trustctl pull REF`
pub(crate) async fn pull(context: &Context, arguments: &PullArguments) -> Result<(), Failure> {
    let target = Target::believed(&arguments.reference, &arguments.belief)?;
    let engine = Engine::find(context.engine).await?;
    let transport = transport(context, &target)?;
    if decide(context, &target)? == ContentTrust::Off {
        unverified(context, &target);
        engine.pull(&target.to_string(), &[], transport, context.output).await?;
        let trust = Trusted::Unverified { verified: false, reason: OFF };
        return context.output.show(&Pulled { pulled: target.to_string(), engine: engine.name(), trust });
    }
    let verified = verify(context, &target).await?;
    if context.output.format() == Format::Text {
        say(context, &verified)?;
    }
    let pinned = target.pinned(&verified.digest);
    engine.pull(&pinned, &[], transport, context.output).await?;
    let tagged = target.tagged();
    if let Some(name) = &tagged {
        engine.tag(&pinned, name, context.output).await?;
    }
    let pulled = tagged.unwrap_or(pinned);
    context.output.show(&Pulled { pulled, engine: engine.name(), trust: Trusted::Verified(Box::new(verified)) })
}

/// `trustctl run … REF …`: comes back only if no container was started.
pub(crate) async fn run(context: &Context, arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let ended = started(context, arguments).await;
    Err(ended.unwrap_or_else(|failure| failure).ends_with(Exit::NotStarted))
}

/// Becomes the engine; `Ok` holds why that did not happen.
async fn started(context: &Context, arguments: &RunArguments) -> Result<Failure, Failure> {
    let line = RunLine::parse(&arguments.arguments)?;
    let target = Target::believed(line.image(), &arguments.belief)?;
    let mut context = context.clone();
    if let Some(disable) = line.disable_content_trust() {
        context.content_trust = ContentTrust::asked(Some(disable), None);
    }
    let context = &context;
    let engine = Engine::find(context.engine).await?;
    let image = if decide(context, &target)? == ContentTrust::Off {
        unverified(context, &target);
        target.to_string()
    } else {
        let verified = verify(context, &target).await?;
        say(context, &verified)?;
        target.pinned(&verified.digest)
    };
    if !engine.holds(&image).await? {
        engine.pull(&image, line.pull_options(), transport(context, &target)?, context.output).await?;
    }
    Ok(engine.run(&line, &image))
}

/// What counts for this image. A requirement is not got past by another name for it: neither that of the place where the
/// image lies, nor that of what it is said to be a mirror of.
fn decide(context: &Context, target: &Target) -> Result<ContentTrust, Failure> {
    context.content_trust.decide(&context.config, &target.repository)?;
    context.content_trust.decide(&context.config, target.judged_repository())
}

/// Standard output is the container's; what was verified goes to standard error.
fn say(context: &Context, verified: &Verified) -> Result<(), Failure> {
    match context.output.format() {
        Format::Json => {
            let json = serde_json::to_string(verified).map_err(|error| {
                Failure::other("write the verdict as JSON", "this is a fault of trustctl").because(error)
            })?;
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr().lock(), "{json}");
        }
        Format::Text => {
            context.output.remark(&format!("verified {}", verified.exactly()));
            for line in verified.why() {
                context.output.remark(&format!("  {line}"));
            }
        }
    }
    Ok(())
}

/// Every unverified pull says so (D4).
fn unverified(context: &Context, target: &Target) {
    context.output.warning(&format!("{target} is not verified: {OFF}"));
}

fn transport(context: &Context, target: &Target) -> Result<Transport, Failure> {
    let registry: Registry = super::verify::open(context, target, Access::Pull)?;
    Ok(if registry.is_plain() { Transport::Plain } else { Transport::Tls })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::{context, pin};

    #[test]
    fn a_pin_that_requires_a_signature_holds_for_both_names_of_a_mirror() {
        let mut off = context();
        off.content_trust = ContentTrust::Off;
        off.config.pins = vec![pin("r.example.com/team/*")];
        off.config.pins[0].required = true;
        let (pinned, another) = ("r.example.com/team/app:1", "r.example.com/other/app:1");

        for (typed, named_as) in [(pinned, None), (pinned, Some(another)), (another, Some(pinned))] {
            let target = Target::parse(typed, named_as).unwrap();
            assert_eq!(decide(&off, &target).unwrap_err().exit().code(), 1, "{typed} as {named_as:?}");
        }
        let neither = Target::parse(another, Some("r.example.com/another/app:1")).unwrap();
        assert_eq!(decide(&off, &neither).unwrap(), ContentTrust::Off);
    }
}
