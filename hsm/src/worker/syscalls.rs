//! The system calls that a worker may still make: memory, threads, time, its open streams and its two files.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::reach::{self, Reach};

/// Refused with `EPERM`: everything else. Notably socket, connect, bind, accept, execve, ptrace,
/// process_vm_readv, mount, open_by_handle_at, io_uring, bpf, keyctl.
const ALLOWED: &[libc::c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_memfd_secret,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munlock,
    libc::SYS_munmap,
    libc::SYS_membarrier,
    // threads and signals
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_geteuid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // time and randomness
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    // open streams
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_write,
    libc::SYS_writev,
    // the two files; which ones is Landlock's matter
    libc::SYS_copy_file_range,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
];

/// The older forms that x86-64 still uses.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLDER: &[libc::c_long] =
    &[libc::SYS_access, libc::SYS_link, libc::SYS_rename, libc::SYS_stat, libc::SYS_lstat, libc::SYS_unlink];
/// aarch64 has but the newer forms, and renameat.
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLDER: &[libc::c_long] = &[libc::SYS_renameat];

/// What a vendor's module may do besides: look at files and who it is, lock files, wait. No program; no socket and no
/// device but what [`Reach`] lists.
const ALLOWED_MODULE: &[libc::c_long] = &[
    libc::SYS_clock_getres,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstatfs,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_getgid,
    libc::SYS_getppid,
    libc::SYS_getrusage,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_mkdirat,
    libc::SYS_msync,
    libc::SYS_nanosleep,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_statfs,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_utimensat,
];

/// The older forms of the same.
#[cfg(target_arch = "x86_64")]
const ALLOWED_MODULE_OLDER: &[libc::c_long] = &[
    libc::SYS_dup2,
    libc::SYS_getdents,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_readlink,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_MODULE_OLDER: &[libc::c_long] = &[];

/// What may be done to an open stream or file by `fcntl`. Not `F_SETOWN` and `F_SETSIG`: with these the kernel sends any
/// signal to any process of the same uid, which is the daemon's.
const ALLOWED_FCNTL: &[libc::c_int] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_GETFL,
    libc::F_GETLK,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_SETFD,
    libc::F_SETFL,
    libc::F_SETLK,
    libc::F_SETLKW,
];

/// Gives up every other system call, for this thread and those it starts.
pub(super) fn allow_few() -> Result<(), seccompiler::Error> {
    allow_only(ALLOWED.iter().chain(ALLOWED_OLDER), BTreeMap::new())
}

/// The same for a process with a vendor's module in it.
pub(super) fn allow_module(reach: &Reach) -> Result<(), seccompiler::Error> {
    let some = [(libc::SYS_socket, reach::socket_rules(reach)?), (libc::SYS_ioctl, reach::ioctl_rules(reach)?)];
    // A call without rules would be allowed whatever its arguments.
    let some = some.into_iter().filter(|(_, rules)| !rules.is_empty()).collect();
    let calls = ALLOWED.iter().chain(ALLOWED_OLDER).chain(ALLOWED_MODULE).chain(ALLOWED_MODULE_OLDER);
    allow_only(calls.chain(reach::calls(reach)), some)
}

fn allow_only<'a>(
    calls: impl Iterator<Item = &'a libc::c_long>,
    mut allowed: BTreeMap<i64, Vec<SeccompRule>>,
) -> Result<(), seccompiler::Error> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    allowed.extend(calls.map(|call| (*call, Vec::new())));
    allowed.insert(libc::SYS_clone, vec![threads_only()?]);
    let fcntl: Result<_, _> =
        ALLOWED_FCNTL.iter().map(|command| argument_is(1, command.unsigned_abs().into())).collect();
    allowed.insert(libc::SYS_fcntl, fcntl?);
    // Limits of ourselves, signals to ourselves: the daemon has the same uid.
    allowed.insert(libc::SYS_prlimit64, vec![argument_is(0, 0)?]);
    allowed.insert(libc::SYS_tgkill, vec![argument_is(0, std::process::id().into())?]);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let few = SeccompFilter::new(allowed, refused, SeccompAction::Allow, arch)?;

    // clone3 hides its flags behind a pointer: without it the C library falls back to clone.
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let no_clone3 = SeccompFilter::new(hidden, SeccompAction::Allow, missing, arch)?;

    let programs: [BpfProgram; 2] = [few.try_into()?, no_clone3.try_into()?];
    // In this order: installing the second needs a call that the first refuses.
    let [few, no_clone3] = programs;
    seccompiler::apply_filter(&no_clone3)?;
    seccompiler::apply_filter(&few)
}

/// The call with this value as that argument, a number of 32 bits.
fn argument_is(number: u8, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// clone with CLONE_THREAD: a thread, never a process.
fn threads_only() -> Result<SeccompRule, seccompiler::Error> {
    let flag = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
    Ok(SeccompRule::new(vec![condition])?)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// Gives up the calls in a thread of its own: a filter is for ever.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        confined_to(allow_few, work)
    }

    fn confined_to<T: Send + 'static>(
        give_up: impl FnOnce() -> Result<(), seccompiler::Error> + Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let confined = std::thread::spawn(move || {
            give_up().unwrap();
            work()
        });
        confined.join().unwrap()
    }

    fn nowhere() -> Reach {
        Reach { connect: Vec::new(), unix_sockets: false, devices: Vec::new() }
    }

    #[test]
    fn no_socket_is_made_and_no_program_is_started() {
        let nothing_listed = || allow_module(&nowhere());
        for give_up in [allow_few, nothing_listed] {
            let (tcp, pair, program) = confined_to(give_up, || {
                let tcp = TcpListener::bind("127.0.0.1:0").map(drop).unwrap_err();
                let pair = UnixStream::pair().map(drop).unwrap_err();
                let program = Command::new("/bin/true").status().unwrap_err();
                (tcp.kind(), pair.kind(), program.kind())
            });

            assert_eq!([tcp, pair, program], [ErrorKind::PermissionDenied; 3]);
        }
    }

    #[test]
    fn a_device_is_controlled_where_one_is_listed_and_a_terminal_is_never_written_to() {
        fn some_device() -> Result<(), seccompiler::Error> {
            allow_module(&Reach { devices: vec!["/dev/tpmrm0".into()], ..nowhere() })
        }
        let size = |give_up: fn() -> Result<(), seccompiler::Error>| {
            let file = tempfile::tempfile().unwrap();
            confined_to(give_up, move || rustix::io::ioctl_fionread(file).map(drop))
        };

        assert_eq!(size(|| allow_module(&nowhere())), Err(rustix::io::Errno::PERM));
        assert_eq!(size(some_device), Ok(()));
        let pushed = confined_to(some_device, push_a_letter);
        assert_eq!(pushed, Some(libc::EPERM));
    }

    /// Tries to type a letter into a file that is no terminal, for which an unfiltered kernel has ENOTTY.
    #[expect(unsafe_code, reason = "no safe wrapper makes this call")]
    fn push_a_letter() -> Option<i32> {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: the call reads one byte from the pointer, if anything.
        let made = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::TIOCSTI, c"x".as_ptr()) };
        (made == -1).then(|| std::io::Error::last_os_error().raw_os_error()).flatten()
    }

    #[test]
    fn neither_the_limits_of_another_process_nor_the_mode_of_a_file_by_its_name_are_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let parent = rustix::process::getppid();

        let (limits, mode) = confined_to(
            || allow_module(&nowhere()),
            move || {
                let none = rustix::process::Rlimit { current: Some(1), maximum: Some(1) };
                let limits = rustix::process::prlimit(parent, rustix::process::Resource::Nofile, none).unwrap_err();
                rustix::process::getrlimit(rustix::process::Resource::Nofile);
                let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                (limits, std::fs::set_permissions(path, permissions).unwrap_err().kind())
            },
        );

        assert_eq!((limits, mode), (rustix::io::Errno::PERM, ErrorKind::PermissionDenied));
    }

    #[test]
    fn no_stream_is_made_to_send_signals_to_another_process() {
        let nothing_listed = || allow_module(&nowhere());
        for give_up in [allow_few, nothing_listed] {
            let (_ours, theirs) = UnixStream::pair().unwrap();
            let parent = libc::pid_t::try_from(std::os::unix::process::parent_id()).unwrap();

            let outcomes = confined_to(give_up, move || {
                let stream = std::os::fd::AsRawFd::as_raw_fd(&theirs);
                let owner = [1, parent];
                let set = |command, argument: libc::c_long| {
                    #[expect(unsafe_code, reason = "no safe call sets a stream's owner")]
                    // SAFETY: a descriptor of ours, and an argument that lives as long as the call.
                    let outcome = unsafe { libc::fcntl(stream, command, argument) };
                    (outcome, std::io::Error::last_os_error().raw_os_error())
                };
                theirs.try_clone().unwrap();
                [
                    set(libc::F_SETOWN, parent.into()),
                    set(10, libc::c_long::from(libc::SIGKILL)), // F_SETSIG
                    set(15, owner.as_ptr().expose_provenance().try_into().unwrap()), // F_SETOWN_EX
                ]
            });

            assert_eq!(outcomes, [(-1, Some(libc::EPERM)); 3]);
        }
    }

    #[test]
    fn open_streams_threads_files_and_memory_still_work() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"in").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();

        confined(move || {
            let mut bytes = [0; 2];
            theirs.read_exact(&mut bytes).unwrap();
            theirs.write_all(&bytes).unwrap();
            let answer = std::thread::spawn(|| vec![7_u8; 8 * 1024 * 1024].len()).join().unwrap();
            assert_eq!(answer, 8 * 1024 * 1024);
            std::fs::write(&path, b"file").unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"file");
            crate::locked::Slot::take().unwrap();
        });

        let mut bytes = [0; 2];
        ours.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"in");
    }
}
