use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use trust::format::tuf::Key;
use trust::{Algorithm, PublicKey};

use super::super::key;
use super::*;
use crate::key::private_file::Kind;

#[test]
fn rows_are_read_as_they_are_dumped() {
    let dump = b"-- INSERT INTO `private_keys` VALUES (1);\n\
        INSERT INTO `other` VALUES ('INSERT INTO `private_keys`');\n\
        CREATE TABLE `private_keys` (\n  `id` int,\n  `key_id` varchar(255),\n  `public` blob,\n  `deleted_at` timestamp,\n  PRIMARY KEY (`id`)\n);\n\
        INSERT INTO `private_keys` VALUES\n(1,'a\\'b\\\\',_binary '\\0\\n''',NULL),\n(2,'c',0x00ff,'2026-11-27 12:19:12');\n\
        INSERT INTO private_keys (key_id, id) VALUES ('d', -3);\n";

    let rows = rows(dump).unwrap();

    let ids: Vec<_> = rows.iter().map(|row| row.text("key_id").unwrap()).collect();
    assert_eq!(ids, ["a'b\\", "c", "d"]);
    assert_eq!(**rows[0].0["public"], [0, b'\n', b'\'']);
    assert_eq!(**rows[1].0["public"], [0, 0xff]);
    assert_eq!(rows.iter().map(Row::is_deleted).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn rows_of_postgresql_are_read_as_they_are_copied() {
    let head = "CREATE TABLE public.private_keys (\n    id integer NOT NULL\n);\n\n\
        COPY public.private_keys (id, key_id, \"private\", public, deleted_at) FROM stdin;\n";
    let dump = format!("{head}1\ta\\\\b\\t\t\\\\x00ff\t\\\\x\t\\N\n2\tc\t\\N\t\\\\x41\t2026-11-27 12:19:12\n\\.\n\n");

    let found = rows(dump.as_bytes()).unwrap();

    assert_eq!(found.iter().map(|row| row.text("key_id").unwrap()).collect::<Vec<_>>(), ["a\\b\t", "c"]);
    assert_eq!((&**found[0].0["private"], &**found[1].0["public"]), (&[0, 0xff][..], &b"A"[..]));
    assert!(found[0].0["public"].is_empty() && !found[1].0.contains_key("private"));
    assert_eq!(found.iter().map(Row::is_deleted).collect::<Vec<_>>(), [false, true]);
    for end in head.len()..dump.len() - 2 {
        assert!(rows(&dump.as_bytes()[..end]).is_err(), "{end}");
    }
    assert!(rows(format!("{head}1\ta\t\\\\xnot hexadecimal\t\\\\x\t\\N\n\\.\n").as_bytes()).is_err());
}

#[test]
fn what_is_no_dump_is_refused_wherever_it_ends() {
    for (dump, head, count) in [
        (&include_bytes!("../../../../../tests/samples/notary-signer/private_keys.sql")[..], &b"INSERT"[..], 3),
        (include_bytes!("../../../../../tests/samples/notary-signer/private_keys_postgresql.sql"), b"COPY", 4),
    ] {
        assert_eq!(rows(dump).unwrap().len(), count);
        let from = dump.windows(head.len()).position(|bytes| bytes == head).unwrap() + 60;
        for end in (from..dump.len()).step_by(7) {
            // Behind the last row there is only what does not count.
            let _ = rows(&dump[..end]).map(|rows| assert_eq!(rows.len(), count));
        }
        assert!(rows(&dump[..from]).is_err());
    }
    assert!(rows(b"").is_err() && rows(b"\x00\xff\n").is_err());
}

/// Inserts as a user cuts them out of a dump, or an older `pg_dump` writes them.
#[test]
fn rows_of_postgresql_are_read_as_they_are_inserted() {
    let values = "VALUES (1, 'a\\b''c', '\\x00ff', '\\x', NULL);";
    let table = "CREATE TABLE \"s p\".\"private_keys\" (\n    id integer NOT NULL,\n    \"key_id\" text,\n    \
        private bytea,\n    public bytea,\n    deleted_at timestamp,\n    CONSTRAINT one CHECK (true)\n);\n";
    let columns = "(id, key_id, \"private\", public, deleted_at)";
    for dump in [
        format!("{table}INSERT INTO \"s p\".private_keys {values}\n"),
        format!("INSERT INTO public.private_keys {columns} {values}\n"),
        format!("SET standard_conforming_strings = on;\nINSERT INTO private_keys {columns} {values}\n"),
        format!(
            "SET standard_conforming_strings = off;\n{table}INSERT INTO s.private_keys {}\n",
            values.replace('\\', "\\\\")
        ),
    ] {
        let found = rows(dump.as_bytes()).unwrap();

        assert_eq!((found.len(), found[0].text("key_id").unwrap()), (1, "a\\b'c"), "{dump}");
        assert_eq!((&**found[0].0["private"], found[0].0["public"].len()), (&[0, 0xff][..], 0), "{dump}");
    }
    for other in ["public.private_keys2", "private_keys.other", "\"private_keys", "public.", "."] {
        assert!(rows(format!("INSERT INTO {other} {values}\n").as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn bytes_of_postgresql_are_read_in_both_of_its_forms() {
    for (written, meant) in [
        (&b"\\x"[..], &b""[..]),
        (b"\\x00fF", b"\0\xff"),
        (b"", b""),
        (b"a\\\\b\\000\\377\\101", b"a\\b\0\xffA"),
        (b"\\\\x00", b"\\x00"),
    ] {
        assert_eq!(bytes(written).unwrap().as_slice(), meant);
    }
    for wrong in [&b"\\x0"[..], b"\\xzz", b"\\", b"a\\1", b"\\00", b"\\400", b"\\089", b"\\y"] {
        assert!(bytes(wrong).is_none(), "{wrong:?}");
    }
}

/// The SubjectPublicKeyInfo of the private key in a row, worked out of that alone.
fn public(row: &Row) -> Vec<u8> {
    let file = key(row, b"a passphrase for tests").unwrap();
    let der: PublicKeyX509Der<'_> = match file.kind {
        Kind::EcdsaP256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &file.pkcs8).unwrap();
            pair.public_key().as_der().unwrap()
        }
        Kind::Ed25519 => {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&file.pkcs8).unwrap().public_key().as_der().unwrap()
        }
        _ => panic!("no kind of the signer's"),
    };
    der.as_ref().to_vec()
}

/// Of tests/samples/PROVENANCE.md: what the rows are for, and whether each is deleted.
#[test]
fn dumps_of_the_signer_hold_the_private_keys_of_the_names_in_them() {
    const OF_MYSQL: [(&str, &str, bool); 3] = [
        ("ex.io/team/app", "timestamp", false),
        ("ex.io/team/app", "snapshot", false),
        ("ex.io/team/other", "timestamp", false),
    ];
    const OF_POSTGRESQL: [(&str, &str, bool); 4] =
        [OF_MYSQL[1], OF_MYSQL[0], OF_MYSQL[2], ("ex.io/team/gone", "timestamp", true)];
    let [copy, others @ ..] = [
        &include_bytes!("../../../../../tests/samples/notary-signer/private_keys_postgresql.sql")[..],
        include_bytes!("../../../../../tests/samples/notary-signer/private_keys_postgresql_inserts.sql"),
        include_bytes!("../../../../../tests/samples/notary-signer/private_keys_postgresql_escape.sql"),
    ];
    let mysql = [
        &include_bytes!("../../../../../tests/samples/notary-signer/private_keys.sql")[..],
        include_bytes!("../../../../../tests/samples/notary-signer/private_keys_hex.sql"),
    ];
    for other in others {
        assert!(rows(other).unwrap().iter().map(|row| &row.0).eq(rows(copy).unwrap().iter().map(|row| &row.0)));
    }
    for (dump, meant) in mysql.map(|dump| (dump, &OF_MYSQL[..])).into_iter().chain([(copy, &OF_POSTGRESQL[..])]) {
        let found = rows(dump).unwrap();
        let what =
            |row: &Row| (row.text("gun").unwrap().to_owned(), row.text("role").unwrap().to_owned(), row.is_deleted());
        let meant: Vec<_> =
            meant.iter().map(|(gun, role, gone)| ((*gun).to_owned(), (*role).to_owned(), *gone)).collect();
        assert_eq!(found.iter().map(what).collect::<Vec<_>>(), meant);
        for row in &found {
            let der = public(row);
            assert!(der.ends_with(&row.0["public"]), "of Ed25519 the point alone");
            let algorithm =
                if row.text("algorithm") == Some("ed25519") { Algorithm::Ed25519 } else { Algorithm::EcdsaP256Sha256 };
            let public = PublicKey::from_spki_der(algorithm, &der).unwrap();
            assert_eq!(Key::of(&public).unwrap().canonical_id().to_hex(), row.text("key_id").unwrap());
        }
    }
}
