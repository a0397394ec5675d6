//! The Merkle log against `ct-merkle`, and against a log of 300 leaves that Go's own `sumdb/note` and
//! `sumdb/tlog` opened (its checkpoint and the hash of its first tile stand here).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::collections::HashMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use trust::tlog::{
    Checkpoint, Frontier, Node, NoteError, ProofError, SignedCheckpoint, VerifierKey, consistency_proof,
    inclusion_proof, leaf_hash, root_at, verify_consistency, verify_inclusion,
};
use trust::{PublicKey, Sha256Digest};

const CHECKPOINT: &str = "trustd.example/log1\n300\nw1NteD/4w8Bl0QGjCrQZq+PkmU91ieVPGLiMwc5Sq/g=\n\n\u{2014} \
    trustd.example/log1 4ajRLItR3VaJLrExL+eiD1b/z5UvUBqTHVIh+hzQ7SxYO7Mc0RUmp1mRwZgAe8otCuBwl8b9l5YhgSmXu8T1BBbA7Qo=\n";
const VERIFIER_KEY: &str = "trustd.example/log1+e1a8d12c+ASJfZ6ekRWVw18vyCnxJIRupVeWiMoeGA7DFwgTGP0gw";
const FIRST_TILE_SHA256: &str = "e0874ef75ed1cc8a800beae9f230b855c5cf449979ee33e32b2c1fb71a5f48d3";

#[derive(Default)]
struct Tree {
    frontier: Frontier,
    nodes: HashMap<Node, Sha256Digest>,
}

impl Tree {
    fn of(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut tree = Self::default();
        for entry in entries {
            let nodes = &mut tree.nodes;
            tree.frontier.append(leaf_hash(&entry), |node, hash| {
                nodes.insert(node, hash);
            });
        }
        tree
    }

    fn read(&self) -> impl FnMut(Node) -> Option<Sha256Digest> + '_ {
        |node| self.nodes.get(&node).copied()
    }
}

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|seq| format!("{{\"seq\":{seq},\"op\":\"sign\"}}").into_bytes()).collect()
}

#[test]
fn a_log_that_go_opened_has_our_root_and_our_tile() {
    let key: VerifierKey = VERIFIER_KEY.parse().unwrap();
    let tree = Tree::of(entries(300));

    let signed = SignedCheckpoint::open(CHECKPOINT, &key).unwrap();

    assert_eq!(signed.checkpoint().size, 300);
    assert_eq!(signed.checkpoint().root, tree.frontier.root());
    let tile: Vec<u8> = (0..256).flat_map(|index| *tree.nodes[&Node { level: 0, index }].as_bytes()).collect();
    assert_eq!(Sha256Digest::of(&tile).to_hex(), FIRST_TILE_SHA256);
    assert_eq!(key.to_string(), VERIFIER_KEY);
}

#[test]
fn a_note_that_was_touched_is_refused() {
    let key: VerifierKey = VERIFIER_KEY.parse().unwrap();
    let open = |note: &str| SignedCheckpoint::open(note, &key).map(|_| ());

    assert_eq!(open(&CHECKPOINT.replace("\n300\n", "\n301\n")), Err(NoteError::Wrong));
    assert_eq!(open(&CHECKPOINT.replace("\n300\n", "\n0300\n")), Err(NoteError::Shape));
    assert_eq!(open(&CHECKPOINT.replacen("trustd.example/log1\n", "other.example\n", 1)), Err(NoteError::Origin));
    assert_eq!(open(&CHECKPOINT.replace("\u{2014} trustd", "\u{2014} witness")), Err(NoteError::Unsigned));
    assert_eq!(open(&CHECKPOINT.replace("\n\n", "\nextension\n\n")), Err(NoteError::Shape));
    assert_eq!(open(&format!("{CHECKPOINT}\u{7}\n")), Err(NoteError::Shape));
    for end in 0..CHECKPOINT.len() {
        if CHECKPOINT.is_char_boundary(end) {
            assert!(open(&CHECKPOINT[..end]).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn a_witness_line_beside_the_log_s_own_does_not_matter() {
    let key: VerifierKey = VERIFIER_KEY.parse().unwrap();
    let note = format!("{CHECKPOINT}\u{2014} witness.example AAAAAAECAwQ=\n");

    assert!(SignedCheckpoint::open(&note, &key).is_ok());
}

#[test]
fn a_wrong_signature_makes_no_note() {
    let key = VerifierKey::new(
        "log.example",
        PublicKey::from_ed25519_bytes(&[
            0x22, 0x5f, 0x67, 0xa7, 0xa4, 0x45, 0x65, 0x70, 0xd7, 0xcb, 0xf2, 0x0a, 0x7c, 0x49, 0x21, 0x1b, 0xa9, 0x55,
            0xe5, 0xa2, 0x32, 0x87, 0x86, 0x03, 0xb0, 0xc5, 0xc2, 0x04, 0xc6, 0x3f, 0x48, 0x30,
        ])
        .unwrap(),
    )
    .unwrap();
    let checkpoint = Checkpoint { origin: "log.example".to_owned(), size: 1, root: leaf_hash(b"x") };

    assert_eq!(SignedCheckpoint::assemble(checkpoint, &[7; 64], &key), Err(NoteError::Wrong));
}

#[test]
fn nothing_is_proved_outside_the_tree() {
    let tree = Tree::of(entries(5));

    assert_eq!(inclusion_proof(5, 5, tree.read()), Err(ProofError::Outside));
    assert_eq!(inclusion_proof(0, 9, tree.read()), Err(ProofError::HashMissing));
    assert_eq!(consistency_proof(0, 5, tree.read()), Err(ProofError::Outside));
    assert_eq!(consistency_proof(6, 5, tree.read()), Err(ProofError::Outside));
    assert_eq!(Frontier::restore(9, tree.read()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn roots_and_proofs_are_those_of_ct_merkle(count in 1_u64..200, leaf in 0_u64..200, old in 1_u64..200) {
        let (leaf, old) = (leaf % count, 1 + old % count);
        let all = entries(count);
        let tree = Tree::of(all.clone());
        let mut oracle = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
        for entry in &all {
            oracle.push(entry.clone());
        }

        let root = tree.frontier.root();
        let theirs = oracle.root();
        prop_assert_eq!(&root.as_bytes()[..], theirs.as_bytes().as_slice());
        prop_assert_eq!(root_at(count, tree.read()), Ok(root));
        prop_assert_eq!(Frontier::restore(count, tree.read()), Some(tree.frontier.clone()));

        let proof = inclusion_proof(leaf, count, tree.read()).unwrap();
        let flat: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let theirs = oracle.prove_inclusion(usize::try_from(leaf).unwrap());
        prop_assert_eq!(flat.as_slice(), theirs.as_bytes());
        let hash = tree.nodes[&Node { level: 0, index: leaf }];
        prop_assert_eq!(verify_inclusion(leaf, &hash, count, &root, &proof), Ok(()));

        let old_root = root_at(old, tree.read()).unwrap();
        let proof = consistency_proof(old, count, tree.read()).unwrap();
        let flat: Vec<u8> = proof.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let theirs = oracle.prove_consistency(usize::try_from(count - old).unwrap());
        prop_assert_eq!(flat.as_slice(), theirs.as_bytes());
        prop_assert_eq!(verify_consistency(old, &old_root, count, &root, &proof), Ok(()));
    }

    #[test]
    fn a_proof_that_was_touched_does_not_hold(count in 2_u64..100, leaf in 0_u64..100, at in any::<usize>(), bit in 0_u8..8) {
        let leaf = leaf % count;
        let tree = Tree::of(entries(count));
        let root = tree.frontier.root();
        let hash = tree.nodes[&Node { level: 0, index: leaf }];
        let mut proof = inclusion_proof(leaf, count, tree.read()).unwrap();

        let place = at % proof.len();
        let mut bytes = *proof[place].as_bytes();
        bytes[at % 32] ^= 1 << bit;
        let sound = std::mem::replace(&mut proof[place], Sha256Digest::from_bytes(bytes));
        prop_assert_eq!(verify_inclusion(leaf, &hash, count, &root, &proof), Err(ProofError::Wrong));

        proof[place] = sound;
        proof.push(sound);
        prop_assert!(verify_inclusion(leaf, &hash, count, &root, &proof).is_err());
        proof.pop();
        proof.pop();
        prop_assert!(verify_inclusion(leaf, &hash, count, &root, &proof).is_err());
    }
}
