//! What `main` calls: reads the command line and runs one command.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use trust::format::trusted_root;

use crate::command_line::image::ImageCommand;
use crate::command_line::release::ReleaseCommand;
use crate::command_line::{Command, CommandLine};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::registry::PlainHttp;
use crate::usage::{self, Unread};
use crate::{
    audit, backup, enroll, hsm, image, key, migrate, pinning, release, sealing, sign, status, trust_owner, tuf_client,
    verify,
};

/// Runs `trustctl`.
pub(crate) fn trustctl() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return not_run(&error),
    };
    let output = Output::new(line.output);
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other("start the runtime", "are there too many open files?").because(error))
        .and_then(|runtime| runtime.block_on(run(line, output)));
    done.unwrap_or_else(|failure| {
        output.failure(&failure);
        ExitCode::from(failure.exit().code())
    })
}

/// Nothing was called that could be run.
fn not_run(error: &clap::Error) -> ExitCode {
    let output = Output::new(usage::format_of(std::env::args_os()));
    let failure = match usage::unread(error) {
        Unread::Asked(text) => match output.raw(text.as_bytes()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(failure) => failure,
        },
        Unread::Nothing(text) => {
            eprint!("{text}");
            return ExitCode::from(Exit::Usage.code());
        }
        Unread::Wrong(failure) if usage::is_run(std::env::args_os()) => failure.ends_with(Exit::NotStarted),
        Unread::Wrong(failure) => failure,
    };
    output.failure(&failure);
    ExitCode::from(failure.exit().code())
}

async fn run(line: CommandLine, output: Output) -> Result<ExitCode, Failure> {
    // What needs neither daemon nor configuration works where both are broken.
    match &line.command {
        Command::Completions { shell } => return completions(*shell, output).map(|()| ExitCode::SUCCESS),
        Command::Man { directory } => return manual(directory).map(|()| ExitCode::SUCCESS),
        Command::TufClient(arguments) => {
            let plain = if line.plain_http { PlainHttp::Asked } else { PlainHttp::LoopbackOnly };
            return tuf_client::run(output, plain, arguments).await.map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let context = Context::new(&line, output).map_err(|failure| match line.command {
        // It is the container's own code that could be taken for ours (D3).
        Command::Run(_) => failure.ends_with(Exit::NotStarted),
        _ => failure,
    })?;
    let context = &context;
    match line.command {
        Command::Run(arguments) => return image::run(context, &arguments).await,
        Command::Push(arguments) => image::push(context, &arguments).await?,
        Command::Pull(arguments) => image::pull(context, &arguments).await?,
        Command::Inspect(arguments) => image::inspect(context, &arguments).await?,
        Command::Image(ImageCommand::Sign(arguments)) => image::sign(context, &arguments).await?,
        Command::Image(ImageCommand::Verify(arguments)) => image::verify(context, &arguments).await?,
        Command::Trust(command) => trust_owner::run(context, command).await?,
        Command::Migrate(command) => return migrate::run(context, command).await,
        Command::Pin(command) => pinning::run(context, command)?,
        Command::Enroll(arguments) => enroll::run(context, &arguments).await?,
        Command::Key(command) => key::run(context, command).await?,
        Command::Sign(arguments) => sign::run(context, &arguments).await?,
        Command::Verify(arguments) => verify::run(context, &arguments).await?,
        Command::Release(ReleaseCommand::Sign(arguments)) => release::sign(context, &arguments).await?,
        Command::Release(ReleaseCommand::Verify(arguments)) => release::verify(context, &arguments)?,
        Command::Release(ReleaseCommand::Pin(command)) => release::pinned::run(context, command)?,
        Command::Audit(command) => audit::run(context, command).await?,
        Command::Status => status::run(context).await?,
        Command::Seal => sealing::seal(context).await?,
        Command::Unseal { by_token } => sealing::unseal(context, by_token).await?,
        Command::Kek(command) => sealing::kek(context, command).await?,
        Command::Hsm(command) => hsm::run(context, command).await?,
        Command::Backup(arguments) => backup::run(context, &arguments).await?,
        Command::TrustedRoot => output.raw(format!("{}\n", trusted_root::JSON).as_bytes())?,
        // They ran above.
        Command::Completions { .. } | Command::Man { .. } | Command::TufClient(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "trustctl", &mut script);
    output.raw(&script)
}

fn manual(directory: &std::path::Path) -> Result<(), Failure> {
    clap_mangen::generate_to(CommandLine::command(), directory).map_err(|error| {
        Failure::other(
            format!("write manual pages to {}", directory.display()),
            "it has to be a directory you may write",
        )
        .because(error)
    })
}
