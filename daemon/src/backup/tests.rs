//! A backup goes out, comes in, and gives way nowhere.

use trust::{Algorithm, Form, KeyId, KeyRef, KeyVersion, Origin, PublicKey, Purpose, Scope, Sha256Digest};
use trust_hsm::{Material, SealedKey, StoreKey};

use super::*;
use crate::clock::Clock;
use crate::records::{KeyRecord, LogAnchor, LogKey, RecordLimits, Records, UnsealError, VersionRecord};
use crate::store::{SledOptions, SledStore, Store};

fn store_key(byte: u8) -> StoreKey {
    StoreKey::take(&mut [byte; 32])
}

fn public_key(seed: u32) -> PublicKey {
    let mut candidate = *Sha256Digest::of(&seed.to_be_bytes()).as_bytes();
    loop {
        match PublicKey::from_ed25519_bytes(&candidate) {
            Ok(key) => return key,
            Err(_) => candidate = *Sha256Digest::of(&candidate).as_bytes(),
        }
    }
}

fn material() -> Material {
    let mut bytes = vec![9; 2600];
    bytes[..5].copy_from_slice(&[1, 1, 0, 0, 0]);
    Material::Sealed(SealedKey::from_bytes(&bytes).unwrap())
}

fn clock() -> Clock {
    Clock::manual(1_800_000_000_000)
}

async fn records(keys: u32) -> Records {
    let key = store_key(1);
    let created = Records::create(Store::memory(), [7; 16], &key, RecordLimits::default(), clock()).await;
    let records = created.unwrap();
    for n in 0..keys {
        let id = KeyId::from_bytes(u128::from(n).to_be_bytes());
        let record = KeyRecord {
            id,
            name: format!("key-{n}").parse().unwrap(),
            purpose: Purpose::Raw,
            algorithm: Algorithm::Ed25519,
            scope: Scope::Unbound,
            forms: vec![Form::Raw],
            created_at_unix_seconds: 1,
            token: None,
        };
        let first = VersionRecord {
            key: KeyRef { id, version: KeyVersion::FIRST },
            public_key: public_key(n),
            materials: vec![material()],
            created_at_unix_seconds: 1,
            leaf: 1,
            origin: Origin::Generated,
        };
        records.create_key(record, first, LogAnchor { size: 5, root: Sha256Digest::of(b"r") }, None).await.unwrap();
    }
    let log_key = LogKey {
        key: KeyRef { id: KeyId::from_bytes([255; 16]), version: KeyVersion::FIRST },
        public_key: public_key(u32::MAX),
        material: material(),
        origin: "log.example.com".to_owned(),
    };
    records.set_log_key_once(log_key).await.unwrap();
    records
}

fn pair() -> (Recipients, Identities) {
    let identity = age::x25519::Identity::generate();
    (Recipients(vec![identity.to_public()]), Identities(vec![identity]))
}

async fn export(records: &Records, recipients: &Recipients) -> Vec<u8> {
    let snapshot = records.snapshot().await.unwrap();
    let mut export = Export::begin(snapshot, recipients, b"ring".to_vec(), "checkpoint".to_owned(), 4).unwrap();
    let mut bytes = Vec::new();
    loop {
        export.read_ahead().await.unwrap();
        let Some(chunk) = export.next_chunk().unwrap() else { break };
        assert!(chunk.len() < 4 * 1024 * 1024);
        bytes.extend(chunk);
    }
    bytes
}

async fn opened(store: &Store, key: u8) -> Result<Records, UnsealError> {
    let records = Records::open(store.clone(), RecordLimits::default(), clock()).await?;
    records.unseal(&store_key(key)).await?;
    Ok(records)
}

#[tokio::test]
async fn what_was_exported_opens_as_it_was_after_the_import() {
    let (records, (recipients, identities)) = (records(300).await, pair());
    let bytes = export(&records, &recipients).await;
    let directory = tempfile::tempdir().unwrap();
    let sled = SledStore::create(&directory.path().join("store"), SledOptions::default()).unwrap();
    let store = Store::Sled(std::sync::Arc::new(sled));

    let imported = import(bytes.as_slice(), &identities, &store).await.unwrap();

    assert_eq!((imported.store_uuid, imported.key_count), ([7; 16], 300));
    assert_eq!((imported.ring.as_slice(), imported.checkpoint.as_str()), (b"ring".as_slice(), "checkpoint"));
    assert_eq!(opened(&store, 2).await.map(|_| ()).unwrap_err(), UnsealError::WrongKey);
    let read = opened(&store, 1).await.unwrap();
    assert_eq!(read.list(None, 1000).await.unwrap().len(), 300);
    let view = read.key_by_name(&"key-250".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(view.newest().unwrap().materials, [material()]);
    assert!(read.log_key().unwrap().is_none(), "the log key stays where it is");
    let provenance = read.provenance().unwrap().unwrap();
    assert_eq!(provenance.ring_sha256, *Sha256Digest::of(b"ring").as_bytes());
    assert_eq!(provenance.checkpoint, imported.checkpoint);
}

#[tokio::test]
async fn nobody_but_a_recipient_reads_it() {
    let (records, (recipients, _), (_, others)) = (records(1).await, pair(), pair());
    let bytes = export(&records, &recipients).await;
    let store = Store::memory();

    assert!(matches!(import(bytes.as_slice(), &others, &store).await, Err(BackupError::WrongIdentity)));
    assert!(!bytes.windows(5).any(|window| window == b"key-0"));
    assert!(store.scan(&[], None, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_cut_or_altered_anywhere_is_refused_and_leaves_no_records() {
    let (records, (recipients, identities)) = (records(3).await, pair());
    let good = export(&records, &recipients).await;
    let cut = (0..good.len()).step_by(97).map(|at| good[..at].to_vec());
    let altered = (0..good.len()).step_by(89).map(|at| {
        let mut altered = good.clone();
        altered[at] ^= 1;
        altered
    });
    let longer = [good.clone(), vec![0]].concat();

    for bytes in cut.chain(altered).chain([longer]) {
        let store = Store::memory();
        assert!(import(bytes.as_slice(), &identities, &store).await.is_err());
        assert_eq!(opened(&store, 1).await.map(|_| ()).unwrap_err(), UnsealError::Missing);
    }
}

#[tokio::test]
async fn pages_of_two_backups_do_not_mix() {
    let (old, (recipients, identities)) = (records(2).await, pair());
    let plain = async |records: &Records| {
        let bytes = export(records, &recipients).await;
        let decryptor = age::Decryptor::new(bytes.as_slice()).unwrap();
        let identity: &dyn age::Identity = &identities.0[0];
        let mut plain = Vec::new();
        io::Read::read_to_end(&mut decryptor.decrypt(std::iter::once(identity)).unwrap(), &mut plain).unwrap();
        plain
    };
    let (one, two) = (plain(&old).await, plain(&old).await);
    assert_eq!(one.len(), two.len());
    // One who can encrypt to the recipient mends hash and count too: then the anchor row tells.
    let mut frames = frame::Frames::start(one.as_slice()).unwrap();
    let mut others = frame::Frames::start(two.as_slice()).unwrap();
    let mut forged = frame::first_line();
    let mut rows = 0;
    for page in 0_u32.. {
        let ((kind, body, _), (_, other, _)) = (frames.next().unwrap(), others.next().unwrap());
        match kind {
            frame::Kind::Head => {
                let head: frame::Head = postcard::from_bytes(&body).unwrap();
                forged.extend(frame::encode(kind, &head).unwrap());
            }
            frame::Kind::Rows => {
                let chosen: frame::Rows = postcard::from_bytes(if page == 1 { &other } else { &body }).unwrap();
                rows += u64::try_from(chosen.len()).unwrap();
                forged.extend(frame::encode(kind, &chosen).unwrap());
            }
            frame::Kind::Ring => forged.extend(frame::encode(kind, &b"ring".to_vec()).unwrap()),
            frame::Kind::End => {
                let sha256 = *Sha256Digest::of(&forged).as_bytes();
                forged.extend(frame::encode(kind, &frame::End { rows, sha256 }).unwrap());
                break;
            }
        }
    }
    let mut encrypted = Vec::new();
    let recipient: &dyn age::Recipient = &recipients.0[0];
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).unwrap();
    let mut writer = encryptor.wrap_output(&mut encrypted).unwrap();
    io::Write::write_all(&mut writer, &forged).unwrap();
    writer.finish().unwrap();
    let store = Store::memory();

    import(encrypted.as_slice(), &identities, &store).await.unwrap();

    assert!(matches!(opened(&store, 1).await.map(|_| ()), Err(UnsealError::Tampered { .. })));
}

#[tokio::test]
async fn an_import_goes_only_into_an_empty_store_and_an_export_only_out_of_an_open_one() {
    let (records, (recipients, identities)) = (records(1).await, pair());
    let bytes = export(&records, &recipients).await;
    let store = Store::memory();
    import(bytes.as_slice(), &identities, &store).await.unwrap();

    assert!(matches!(import(bytes.as_slice(), &identities, &store).await, Err(BackupError::Damaged { .. })));
    records.seal();
    assert!(matches!(records.snapshot().await.map(|_| ()), Err(RecordError::Sealed)));
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let error = frame::Frames::start(b"trustd-backup 2\n".as_slice()).map(|_| ()).unwrap_err();
    assert!(matches!(error, BackupError::TooNew { found: 2, known: 1 }));
    for text in ["trustd-backup \n", "trustd-backup 0\n", "trustd-backup 99999999999\n", "age-encryption.org/v1\n"] {
        assert!(matches!(frame::Frames::start(text.as_bytes()).map(|_| ()), Err(BackupError::Damaged { .. })));
    }
}

#[test]
fn files_of_age_keys_are_read_strictly() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let identity = age::x25519::Identity::generate();
    let write = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };

    write(&format!("# made today\n\n{}\n", identity.to_public()), 0o644);
    assert_eq!(Recipients::read(&path).unwrap().0, [identity.to_public()]);
    for text in ["", "# nothing\n", "age1nothing\n", "ssh-ed25519 AAAA\n"] {
        write(text, 0o644);
        assert!(matches!(Recipients::read(&path), Err(BackupError::KeyFile { .. })), "{text}");
    }
    let secret = secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
    write(&secret, 0o600);
    assert_eq!(Identities::read(&path).unwrap().0.len(), 1);
    write(&secret, 0o640);
    let loose = Identities::read(&path).map(|_| ()).unwrap_err();
    assert!(loose.to_string().ends_with("mode 0600 or stricter"));
}

#[test]
fn a_ring_is_not_written_over_a_ring() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ring");
    write_ring(&path, b"ring").unwrap();

    assert!(write_ring(&path, b"other").is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"ring");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
