//! Backup over the socket, and import into an empty directory (D18), through the real programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use tempfile::TempDir;
use tonic::{Code, Status};
use trust_proto::v1::admin_client::AdminClient;
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::{BackupRequest, GetCheckpointRequest, GetCheckpointResponse, Trust, Use, UseChange};
use trust_tests::ledger::{Ledger, wait_for};
use trust_tests::program::Ran;
use trust_tests::{Daemon, Setup};

const PASSPHRASE: &str = "correct horse battery staple";
const OLD_ORIGIN: &str = "log.test.example";
const NEW_ORIGIN: &str = "log2.test.example";

/// Whoever keeps backups: an identity that opens them, and the recipients file for daemons.
struct Keeper {
    directory: TempDir,
}

impl Keeper {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let identity = Identity::generate();
        std::fs::write(directory.path().join("recipients"), format!("# the keeper\n{}\n", identity.to_public()))
            .unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(directory.path().join("identity")).unwrap();
        std::io::Write::write_all(&mut file, identity.to_string().expose_secret().as_bytes()).unwrap();
        Self { directory }
    }

    fn identity(&self) -> PathBuf {
        self.directory.path().join("identity")
    }

    fn setup(&self) -> Setup {
        let recipients = self.directory.path().join("recipients");
        Setup { more: format!("backup_recipients = \"{}\"\n", recipients.display()), ..Setup::allowing_raw() }
    }

    fn keep(&self, backup: &[u8]) -> PathBuf {
        let path = self.directory.path().join("backup.age");
        std::fs::write(&path, backup).unwrap();
        path
    }
}

async fn backup(daemon: &Daemon) -> Result<Vec<u8>, Status> {
    let mut admin = AdminClient::new(daemon.channel().await.unwrap());
    let mut chunks = admin.backup(BackupRequest {}).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = chunks.message().await? {
        bytes.extend_from_slice(&answer.chunk);
    }
    Ok(bytes)
}

async fn checkpoint(daemon: &Daemon) -> GetCheckpointResponse {
    let mut audit = AuditClient::new(daemon.channel().await.unwrap());
    audit.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner()
}

/// Another host: a configuration with another log origin, and nothing else.
fn other_host(setup: &Setup) -> Daemon {
    let daemon = Daemon::prepared(setup).unwrap();
    let text = std::fs::read_to_string(daemon.configuration()).unwrap();
    std::fs::write(daemon.configuration(), text.replace(OLD_ORIGIN, NEW_ORIGIN)).unwrap();
    daemon
}

fn copy_root_key(from: &Daemon, to: &Daemon) {
    std::fs::copy(from.root_kek(), to.root_kek()).unwrap();
    assert_eq!(std::fs::metadata(to.root_kek()).unwrap().permissions().mode() & 0o777, 0o600);
}

fn import(daemon: &Daemon, identity: &Path, backup: &Path) -> Ran {
    let words = ["store", "import", "--identity", identity.to_str().unwrap(), backup.to_str().unwrap()];
    daemon.trustd(&words).unwrap()
}

fn nothing_was_made(daemon: &Daemon) {
    assert!(!daemon.data().exists());
    let left = std::fs::read_dir(daemon.directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("unfinished")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_daemon_signs_with_the_same_keys_under_a_new_log_that_cites_the_old_one() {
    let keeper = Keeper::new();
    let old = Daemon::with(&keeper.setup()).unwrap();
    let user = old.caller().await.unwrap();
    let one = user.create("raw/one").await.unwrap();
    let two = user.rotate("raw/one").await.unwrap();
    user.create("raw/off").await.unwrap();
    user.change("raw/off", UseChange::Disable).await.unwrap();
    user.create("raw/bad").await.unwrap();
    user.distrust("raw/bad").await.unwrap();
    user.rotate_kek().await.unwrap();
    let file = keeper.keep(&backup(&old).await.unwrap());
    let after = user.create("raw/after").await.unwrap();
    let new = other_host(&keeper.setup());
    copy_root_key(&old, &new);

    let ran = import(&new, &keeper.identity(), &file).ok().unwrap();

    assert!(ran.stdout.contains("3 keys") && ran.stdout.contains("trustd serve"), "{ran}");
    let mut new = new;
    new.launch().unwrap();
    let there = new.caller().await.unwrap();
    assert_eq!(there.get("raw/one").await.unwrap().versions, two.versions);
    assert_eq!(there.get("raw/one").await.unwrap().id, one.id);
    assert_eq!(there.get("raw/off").await.unwrap().r#use(), Use::Disabled);
    assert_eq!(there.get("raw/bad").await.unwrap().trust(), Trust::Distrusted);
    assert_eq!(there.get(&after.name).await.unwrap_err().code(), Code::NotFound);
    let signed = there.sign("raw/one", b"elsewhere").await.unwrap();
    assert_eq!(signed.spki_der, two.versions[1].spki_der);

    let (was, is) = (checkpoint(&old).await, checkpoint(&new).await);
    assert_eq!(is.checkpoint.lines().next(), Some(NEW_ORIGIN));
    assert_ne!(was.verifier_key.rsplit('+').next(), is.verifier_key.rsplit('+').next(), "the log key was carried");
    let first = &there.leaves(0).await.unwrap()[0];
    let cited = first["cites"].as_str().unwrap();
    assert_eq!(cited.lines().next(), Some(OLD_ORIGIN));
    assert!(cited.contains("\n\n\u{2014} log.test.example "), "{cited}");

    // It is a daemon like any other from here on.
    new.restart().unwrap();
    let there = new.caller().await.unwrap();
    there.rotate_kek().await.unwrap();
    there.create("raw/more").await.unwrap();
    there.sign("raw/one", b"again").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_starts_sealed_where_a_passphrase_opens_it() {
    let keeper = Keeper::new();
    let setup = Setup { passphrase: Some(PASSPHRASE.to_owned()), ..keeper.setup() };
    let old = Daemon::with(&setup).unwrap();
    let user = old.caller().await.unwrap();
    assert_eq!(backup(&old).await.unwrap_err().code(), Code::Unavailable, "a sealed daemon made a backup");
    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();
    let file = keeper.keep(&backup(&old).await.unwrap());
    let mut new = other_host(&setup);

    let ran = import(&new, &keeper.identity(), &file).ok().unwrap();

    assert!(ran.stdout.contains("trustctl unseal"), "{ran}");
    new.launch().unwrap();
    let there = new.caller().await.unwrap();
    assert!(there.status().await.unwrap().sealed);
    assert_eq!(there.sign("raw/one", b"no").await.unwrap_err().code(), Code::Unavailable);
    there.unseal(PASSPHRASE).await.unwrap();
    there.sign("raw/one", b"yes").await.unwrap();
    assert_eq!(checkpoint(&new).await.checkpoint.lines().next(), Some(NEW_ORIGIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_the_root_key_says_where_to_put_it_and_waits_for_it() {
    let keeper = Keeper::new();
    let old = Daemon::with(&keeper.setup()).unwrap();
    old.caller().await.unwrap().create("raw/one").await.unwrap();
    let file = keeper.keep(&backup(&old).await.unwrap());
    let mut new = other_host(&keeper.setup());

    let ran = import(&new, &keeper.identity(), &file).ok().unwrap();

    assert!(ran.stdout.contains(new.root_kek().to_str().unwrap()), "{ran}");
    assert!(!new.root_kek().exists(), "import made a root key");
    let refused = new.trustd(&["serve"]).unwrap();
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(!new.root_kek().exists(), "serve made a root key");
    // Another daemon's root key does not open it.
    std::fs::write(new.root_kek(), [7; 32]).unwrap();
    std::fs::set_permissions(new.root_kek(), PermissionsExt::from_mode(0o600)).unwrap();
    let refused = new.trustd(&["serve"]).unwrap();
    assert!(refused.stderr.contains("root key"), "{refused}");

    copy_root_key(&old, &new);
    new.launch().unwrap();
    new.caller().await.unwrap().sign("raw/one", b"yes").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_what_is_there_or_under_the_old_origin_changes_nothing() {
    let keeper = Keeper::new();
    let mut old = Daemon::with(&keeper.setup()).unwrap();
    old.caller().await.unwrap().create("raw/one").await.unwrap();
    let file = keeper.keep(&backup(&old).await.unwrap());
    let same_name = Daemon::prepared(&keeper.setup()).unwrap();
    copy_root_key(&old, &same_name);

    let named = import(&same_name, &keeper.identity(), &file);
    assert_ne!(named.code, Some(0), "{named}");
    assert!(named.stderr.contains("log_origin") && named.stderr.contains(OLD_ORIGIN), "{named}");
    nothing_was_made(&same_name);

    old.terminate().unwrap();
    let there = import(&old, &keeper.identity(), &file);
    assert_ne!(there.code, Some(0), "{there}");
    assert!(there.stderr.contains("in use"), "{there}");
    old.launch().unwrap();
    old.caller().await.unwrap().sign("raw/one", b"unharmed").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_a_wrong_identity_and_a_wrong_root_key_make_nothing() {
    let keeper = Keeper::new();
    let old = Daemon::with(&keeper.setup()).unwrap();
    let user = old.caller().await.unwrap();
    for number in 0..50 {
        user.create(&format!("raw/{number}")).await.unwrap();
    }
    let whole = backup(&old).await.unwrap();
    let new = other_host(&keeper.setup());
    copy_root_key(&old, &new);
    let refused = |bytes: &[u8], identity: &Path, word: &str| {
        let ran = import(&new, identity, &keeper.keep(bytes));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(word), "{word}: {ran}");
        nothing_was_made(&new);
    };

    for at in [0, 30, 200, whole.len() / 3, whole.len() / 2, whole.len() - 20, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        refused(&flipped, &keeper.identity(), "backup");
        refused(&whole[..at], &keeper.identity(), "backup");
    }
    refused(&[whole.as_slice(), b"more"].concat(), &keeper.identity(), "backup");
    refused(b"", &keeper.identity(), "backup");
    refused(&whole, &Keeper::new().identity(), "none of the identities");
    std::fs::set_permissions(keeper.identity(), PermissionsExt::from_mode(0o644)).unwrap();
    refused(&whole, &keeper.identity(), "0600");
    std::fs::set_permissions(keeper.identity(), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(new.root_kek(), [7; 32]).unwrap();
    refused(&whole, &keeper.identity(), "root key");

    copy_root_key(&old, &new);
    import(&new, &keeper.identity(), &keeper.keep(&whole)).ok().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_under_full_load_and_through_kek_rotations_all_open() {
    let keeper = Keeper::new();
    let old = Daemon::with(&keeper.setup()).unwrap();
    let ledger = Ledger::default();
    let writers = ledger.write(old.socket(), 8).await.unwrap();
    wait_for(&ledger, 200).unwrap();
    let rotator = old.caller().await.unwrap();
    let rotations = tokio::spawn(async move {
        for _ in 0..10 {
            rotator.rotate_kek().await.unwrap();
        }
    });

    let mut backups = Vec::new();
    for _ in 0..5 {
        backups.push(backup(&old).await.unwrap());
    }
    rotations.await.unwrap();
    writers.done().await;

    for bytes in &backups {
        let mut new = other_host(&keeper.setup());
        copy_root_key(&old, &new);
        import(&new, &keeper.identity(), &keeper.keep(bytes)).ok().unwrap();
        new.launch().unwrap();
        new.caller().await.unwrap().rotate_kek().await.unwrap();
    }
}

/// As an administrator types it: a file of the user's alone, never over another.
#[tokio::test(flavor = "multi_thread")]
async fn trustctl_writes_a_backup_that_trustd_imports() {
    let keeper = Keeper::new();
    let old = Daemon::with(&keeper.setup()).unwrap();
    old.caller().await.unwrap().create("raw/one").await.unwrap();
    let user = old.user().unwrap();

    user.run(&["backup", "monday.age"]).unwrap().ok().unwrap();

    let file = user.file("monday.age");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    let again = user.run(&["backup", "monday.age"]).unwrap();
    assert_ne!(again.code, Some(0), "{again}");
    assert!(before == std::fs::read(&file).unwrap(), "a backup was overwritten");
    let mut new = other_host(&keeper.setup());
    copy_root_key(&old, &new);
    import(&new, &keeper.identity(), &file).ok().unwrap();
    new.launch().unwrap();
    new.caller().await.unwrap().sign("raw/one", b"restored").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_on_record_and_needs_recipients() {
    let keeper = Keeper::new();
    let without = Daemon::with(&Setup::allowing_raw()).unwrap();
    let refused = backup(&without).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("backup_recipients"), "{refused:?}");

    let daemon = Daemon::with(&keeper.setup()).unwrap();
    let bytes = backup(&daemon).await.unwrap();

    assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "not an age file");
    let leaves = daemon.caller().await.unwrap().leaves(0).await.unwrap();
    assert!(leaves.iter().any(|leaf| leaf["operation"] == "backup"), "{leaves:#?}");
    std::fs::write(keeper.directory.path().join("recipients"), "age1nonsense\n").unwrap();
    let refused = backup(&daemon).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
}

/// The checkpoint that a backup cites is not signed any more once somebody has sealed; nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_waits_for_its_checkpoint_holds_up_neither_seal_nor_unseal() {
    let (keeper, limit) = (Keeper::new(), Duration::from_secs(20));
    let setup = keeper.setup();
    let more = format!("{}[custody]\nhang_after_ms = 1000\n", setup.more);
    let daemon = Daemon::with(&Setup { passphrase: Some(PASSPHRASE.to_owned()), more, ..setup }).unwrap();
    let user = daemon.caller().await.unwrap();
    user.unseal(PASSPHRASE).await.unwrap();
    user.create("raw/one").await.unwrap();
    // The log's key signs in the worker, and so does nobody from here on.
    daemon.stop_workers().unwrap();
    let before = user.status().await.unwrap().log_size;
    let seal = async {
        while user.status().await.unwrap().log_size == before {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(limit, user.seal()).await.expect("it waits for the backup").unwrap();
        let unsealed = async {
            // Another worker takes the place of the one that hangs.
            while let Err(status) = user.unseal(PASSPHRASE).await {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(limit, unsealed).await.expect("it waits for the backup");
    };

    let (backed_up, ()) = tokio::join!(backup(&daemon), seal);

    assert_eq!(backed_up.unwrap_err().code(), Code::Unavailable);
    user.sign("raw/one", b"open again").await.unwrap();
    backup(&daemon).await.unwrap();
}
