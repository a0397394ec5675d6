use proptest::prelude::*;

use super::super::lookup::distrust;
use super::*;

fn kept() -> BatchKey {
    BatchKey::Kept("a".parse().map(KeySelector::Name).unwrap(), None)
}

fn distrusted() -> Found {
    Found { key: Err(Refusal::Distrusted), id: None, signature_bytes: Some(64), is_veiled: false }
}

#[test]
fn signatures_without_ends_are_as_long_as_the_first_key_makes_them() {
    let fits = |items: usize, bytes: usize, signature_bytes: Option<usize>, is_veiled: bool| {
        let messages = Batch::items32(vec![0; 32 * items].into())?;
        let batch = Batch::new([kept()].into(), Vec::new(), messages, vec![0; bytes].into(), Vec::new(), 100)?;
        batch.fits(&[Found { signature_bytes, is_veiled, ..distrusted() }])
    };

    // One of 64, of 2 and of 32 is missing; and what lengths differ of says its ends.
    for (items, bytes) in [(64, 63 * 64), (2, 64), (32, 31 * 64), (4, 3 * 512)] {
        for (signature_bytes, is_veiled) in [(Some(64), false), (Some(512), false), (None, false)] {
            assert!(fits(items, bytes, signature_bytes, is_veiled).is_err(), "{items} {bytes} {signature_bytes:?}");
        }
    }
    for bytes in [64, 384, 512, 3309] {
        assert!(fits(3, 3 * bytes, Some(bytes), false).is_ok());
        assert!(fits(3, 3 * bytes, Some(bytes + 1), false).is_err());
        // Whoever may not get the key does not learn which length it makes.
        assert!(fits(3, 3 * bytes, Some(64), true).is_ok());
        assert!(fits(3, 3 * bytes, None, true).is_ok());
        assert!(fits(3, 3 * bytes - 3, Some(bytes), true).is_err());
        assert!(fits(3, 3 * bytes - 3, None, true).is_err());
    }
}

#[test]
fn ends_that_fall_or_stop_short_are_refused() {
    let ranges = |length: usize, ends: &[u32]| -> Option<Vec<Range<usize>>> {
        Ends::new(length, ends.to_vec()).map(|of| (0..ends.len()).map(|index| of.range(index)).collect())
    };

    assert_eq!(ranges(5, &[2, 5]), Some(vec![0..2, 2..5]));
    assert_eq!(ranges(5, &[0, 0, 5, 5]), Some(vec![0..0, 0..0, 0..5, 5..5]));
    assert_eq!(ranges(5, &[3, 2, 5]), None);
    assert_eq!(ranges(5, &[2, 4]), None);
    assert_eq!(ranges(5, &[2, 6]), None);
    assert_eq!(ranges(5, &[6, 5]), None);
    assert_eq!(ranges(0, &[]), Some(vec![]));
    assert_eq!(ranges(1, &[]), None);
}

#[test]
fn what_is_distrusted_meanwhile_takes_its_own_items_along_and_no_others() {
    let messages = Batch::items32(vec![0; 32 * 4].into()).unwrap();
    let signatures = vec![0; 64 * 4].into();
    let batch = Batch::new([kept(), kept()].into(), vec![0, 1, 1, 0], messages, signatures, Vec::new(), 4).unwrap();
    let wrong = Some(Refusal::NotValid(NotValid::Wrong));
    let found = || vec![None, None, wrong, wrong];
    let gone = Some(Refusal::Distrusted);

    assert_eq!(distrust(found(), &batch, &[false, false]), found());
    assert_eq!(distrust(found(), &batch, &[false, true]), [None, gone, gone, wrong]);
    assert_eq!(distrust(found(), &batch, &[true, true]), [gone; 4]);
}

#[test]
fn a_batch_that_nobody_waits_for_is_given_up() {
    let messages = Batch::items32(vec![0; 32 * 400].into()).unwrap_or_else(|_| unreachable!());
    let batch = Batch::new([kept()].into(), Vec::new(), messages, vec![0; 64 * 400].into(), Vec::new(), 400);
    let asked = std::cell::Cell::new(0);
    let twice = || {
        asked.set(asked.get() + 1);
        asked.get() <= 2
    };

    let verdicts = batch.map(|batch| batch.verdicts(0..400, &[distrusted()], &[None], twice));

    assert_eq!(verdicts.ok(), Some(None));
    assert_eq!(asked.get(), 3);
}

/// Forty of Ed25519.
fn strangers() -> Vec<Found> {
    (1..=40_u8)
        .map(|number| {
            let key = ed25519_dalek::SigningKey::from_bytes(&[number; 32]).verifying_key();
            let key = VerificationKey::Signs(PublicKey::from_ed25519_bytes(key.as_bytes()).unwrap());
            Found { key: Ok(key), ..distrusted() }
        })
        .collect()
}

#[test]
fn items_of_keys_that_are_not_prepared_are_dearer_so_their_parts_are_smaller() {
    // 64 items of the first key, and one of each of the others.
    let key_indexes: Vec<u32> = std::iter::repeat_n(0, 63).chain(0..40).collect();
    let items = key_indexes.len();
    let messages = Batch::items32(vec![0; 32 * items].into()).unwrap();
    let signatures = vec![0; 64 * items].into();
    let batch = Batch::new(vec![kept(); 40].into(), key_indexes, messages, signatures, Vec::new(), items).unwrap();
    let costs = |tables_max: usize| {
        let tables = Tables::new(tables_max, crate::clock::Clock::manual(0));
        batch.costs(&strangers(), &tables).collect::<Vec<_>>()
    };

    assert_eq!(costs(64), [vec![1; 64], vec![8; 39]].concat());
    assert_eq!(costs(0), vec![8; items]);
}

#[test]
fn a_part_makes_few_tables_and_none_for_nobody() {
    let keys = strangers();
    let (named, key_indexes) = (vec![kept(); 40].into(), (0..40).flat_map(|key| [key; 64]).collect());
    let messages = Batch::items32(vec![0; 32 * 64 * 40].into()).unwrap();
    let signatures = vec![0; 64 * 64 * 40].into();
    let batch = Batch::new(named, key_indexes, messages, signatures, Vec::new(), 64 * 40).unwrap();
    let tables = Tables::new(64, crate::clock::Clock::manual(0));
    let made = |go_on: fn() -> bool| {
        let made = batch.tables(0..batch.items(), &keys, &tables, go_on);
        made.map(|made| made.iter().flatten().count())
    };

    assert_eq!(made(|| false), None);
    assert_eq!(tables.prepared().keys, 0);
    assert_eq!(made(|| true), Some(TABLES_MADE_MAX));
    assert_eq!(made(|| true), Some(40));
}

proptest! {
    #[test]
    fn whatever_a_caller_sends_makes_a_batch_or_a_fault(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ends in proptest::collection::vec(0_u32..220, 0..6),
        indexes in proptest::collection::vec(0_u32..3, 0..6),
        signatures in proptest::collection::vec(any::<u8>(), 0..200),
        signature_ends in proptest::collection::vec(0_u32..220, 0..6),
    ) {
        let bytes = Bytes::from(bytes);
        let messages = if ends.is_empty() { Batch::items32(bytes) } else { Batch::packed(bytes, ends) };
        let keys = [kept(), kept()].into();
        if let Ok(messages) = messages
            && let Ok(batch) = Batch::new(keys, indexes, messages, signatures.into(), signature_ends, 4)
        {
            let keys = [distrusted(), distrusted()];
            let verdicts = batch.verdicts(0..batch.items(), &keys, &[], || true).unwrap_or_default();
            prop_assert!(verdicts.iter().all(|verdict| *verdict == Some(Refusal::Distrusted)));
            prop_assert!((1..=4).contains(&verdicts.len()));
        }
    }
}
