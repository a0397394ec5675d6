//! What a worker gives up before it holds a secret.
//!
//! Order: nothing inherited, no dump, no new privileges; then, once it knows its
//! two files, no other file (Landlock), no network and no other program (seccomp).
//! A worker with a vendor's module in it gets more files, by name, and more calls
//! about files; network, sockets and devices only as its configuration lists them
//! ([`Reach`]), and no other program either.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

use super::reach::Reach;

/// Closes every descriptor but the standard three.
#[expect(unsafe_code, reason = "no safe call closes descriptors that nobody here owns")]
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: first act of the process: nothing here has opened a descriptor yet, so none is closed under its owner.
    let outcome = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The way to offer this process to the kernel when memory runs out. Opened before the doors are shut: afterwards the
/// file is root's. Best effort: where `/proc` may not be written, nothing is offered.
pub(super) struct FirstToGo(Option<File>);

impl FirstToGo {
    pub(super) fn open() -> Self {
        Self(File::options().write(true).open("/proc/self/oom_score_adj").ok())
    }

    /// A module that leaks is to cost its own process, not the daemon's or the one with the software keys.
    fn offer(self) -> io::Result<()> {
        self.0.map_or(Ok(()), |mut file| file.write_all(b"1000"))
    }
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

/// Where the C library and a module's other libraries are, and what they read when they start.
const LIBRARIES: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/ssl/openssl.cnf"];
/// Where some modules have their randomness.
const RANDOM: &[&str] = &["/dev/random", "/dev/urandom"];
/// The most memory a module's process may map, in bytes: a length that a module made up costs its own process at most.
const MODULE_MEMORY_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// The most files, sockets and devices that it may have open. No limit of processes beside it: the kernel counts those
/// for the whole user, the daemon's threads too; threads are held by the memory that their stacks map. And none of a
/// file's size, which would also hold for the log that is the daemon's standard error.
const MODULE_FILES: u64 = 1024;

/// Libraries, the module's own file and what the configuration lists; no other program.
pub(super) fn confine_module(
    module: &Path,
    readable: &[PathBuf],
    writable: &[PathBuf],
    reach: &Reach,
    first_to_go: FirstToGo,
) -> io::Result<()> {
    first_to_go.offer()?;
    hold(Resource::As, MODULE_MEMORY_BYTES)?;
    hold(Resource::Nofile, MODULE_FILES)?;
    landlock_module(module, readable, writable, reach)
        .map_err(|error| io::Error::other(format!("confine with Landlock: {error}")))?;
    crate::worker::syscalls::allow_module(reach)
        .map_err(|error| io::Error::other(format!("confine with seccomp: {error}")))
}

/// Sets a limit for good, or keeps a lower one that is set already.
fn hold(resource: Resource, most: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |set| set.min(most));
    rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

fn landlock_module(
    module: &Path,
    readable: &[PathBuf],
    writable: &[PathBuf],
    reach: &Reach,
) -> Result<(), landlock::RulesetError> {
    let libraries = LIBRARIES.iter().chain(RANDOM).map(Path::new).chain([module]);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut ruleset = nothing()?;
    for path in libraries.chain(readable.iter().map(PathBuf::as_path)) {
        ruleset = allow(ruleset, Some(path), read)?;
    }
    for path in writable {
        ruleset = allow(ruleset, Some(path), write)?;
    }
    for path in &reach.devices {
        ruleset = allow(ruleset, Some(path), read | AccessFs::WriteFile | AccessFs::IoctlDev)?;
    }
    for address in &reach.connect {
        ruleset = ruleset.add_rule(NetPort::new(address.port(), AccessNet::ConnectTcp))?;
    }
    ruleset.restrict_self()?;
    Ok(())
}

/// Whether this kernel holds a process to the ports that it may connect to (Landlock ABI 4, Linux 6.7).
pub(super) fn ports_are_held() -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    strict.handle_access(AccessNet::ConnectTcp).is_ok()
}

/// A rule set that allows nothing. Best effort by kernel version: an older kernel confines less, none refuses.
fn nothing() -> Result<RulesetCreated, landlock::RulesetError> {
    let abi = ABI::V6;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()
}

fn landlock(ring: &Path, root_file: Option<&Path>) -> Result<(), landlock::RulesetError> {
    let ruleset = nothing()?;
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

/// What is not there gets no rule; using it fails later, with its name. Of a file only what concerns files is allowed.
fn allow(
    ruleset: RulesetCreated,
    place: Option<&Path>,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Some(place) = place else { return Ok(ruleset) };
    let access = if place.is_dir() { access } else { access & AccessFs::from_file(ABI::V6) };
    match PathFd::new(place) {
        Ok(opened) => ruleset.add_rule(PathBeneath::new(opened, access)),
        Err(_) => Ok(ruleset),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_module_reads_its_own_file_what_is_listed_and_nothing_beside_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["module.so", "beside.so", "listed.conf"] {
            fs::write(path(name), name).unwrap();
        }
        // As vendors install them: the name is a link to the version.
        std::os::unix::fs::symlink("module.so", path("module")).unwrap();
        let [link, module, beside, listed] = ["module", "module.so", "beside.so", "listed.conf"].map(path);

        let nowhere = Reach { connect: Vec::new(), unix_sockets: false, devices: Vec::new() };

        // In a thread of its own: a rule set is for ever.
        let confined = std::thread::spawn(move || {
            landlock_module(&link, std::slice::from_ref(&listed), &[], &nowhere).unwrap();
            [&link, &module, &listed, &beside].map(|path| fs::read(path).map(drop).map_err(|error| error.kind()))
        });

        assert_eq!(confined.join().unwrap(), [Ok(()), Ok(()), Ok(()), Err(ErrorKind::PermissionDenied)]);
    }
}
