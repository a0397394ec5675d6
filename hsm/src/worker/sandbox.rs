//! What a worker gives up before it holds a secret.
//!
//! Order: nothing inherited, no dump, no new privileges; then, once it knows its
//! two files, no other file (Landlock), no network and no other program (seccomp).

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

/// Closes every descriptor but the standard three.
#[expect(unsafe_code, reason = "no safe call closes descriptors that nobody here owns")]
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: first act of the process: nothing here has opened a descriptor yet, so none is closed under its owner.
    let outcome = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// No core dump, no reading of our memory by the same user, no new privileges.
pub(super) fn shut_doors() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(())
}

/// Has the kernel kill us when the daemon's watching thread ends; ends at once if it has.
pub(super) fn die_with(parent: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let real = rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero);
    if real.is_some_and(|real| real.get() == parent) {
        return Ok(());
    }
    Err(io::Error::other("the daemon that started this worker is gone"))
}

/// Nothing but the ring's directory and the root key file's; no network; no other program.
pub(super) fn confine(ring: &Path, root_file: Option<&Path>) -> io::Result<()> {
    landlock(ring, root_file).map_err(|error| io::Error::other(format!("confine with Landlock: {error}")))?;
    crate::worker::syscalls::allow_few().map_err(|error| io::Error::other(format!("confine with seccomp: {error}")))
}

/// Best effort by kernel version: an older kernel confines less, none refuses.
fn landlock(ring: &Path, root_file: Option<&Path>) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V6;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let in_place = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    let ruleset = allow(ruleset, ring.parent(), in_place)?;
    // The directory and not the file: whoever renews the file makes a new one.
    let ruleset = allow(ruleset, root_file.and_then(Path::parent), AccessFs::ReadFile.into())?;
    ruleset.restrict_self()?;
    Ok(())
}

/// A directory that is not there gets no rule; using it fails later, with its name.
fn allow(
    ruleset: RulesetCreated,
    directory: Option<&Path>,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    match directory.and_then(|directory| PathFd::new(directory).ok()) {
        Some(opened) => ruleset.add_rule(PathBeneath::new(opened, access)),
        None => Ok(ruleset),
    }
}
