//! The rule on rows that are made up, and runs that may not be held against each other.

use super::*;
use crate::path::FACT as PATH;

fn row(subject: &str, unit: &str, samples: &[f64]) -> Kept {
    Kept {
        suite: "sign".to_owned(),
        case: "1 in flight".to_owned(),
        subject: subject.to_owned(),
        unit: unit.to_owned(),
        samples: samples.to_vec(),
        is_peers: subject.starts_with("peer"),
    }
}

fn run(rows: Vec<Kept>) -> Run {
    Run { machine: Some("one".to_owned()), path: None, rows }
}

fn verdict(unit: &str, old: &[f64], new: &[f64]) -> Verdict {
    let both = Comparison::of(&run(vec![row("a", unit, old)]), &run(vec![row("a", unit, new)]), 0.05).unwrap();
    both.lines[0].verdict
}

const HUNDRED: [f64; 5] = [98.0, 99.0, 100.0, 101.0, 102.0];

#[test]
fn a_rate_that_fell_beyond_the_noise_is_worse_and_a_time_that_fell_is_better() {
    let ninety = HUNDRED.map(|value| value * 0.9);

    assert_eq!(verdict("1/s", &HUNDRED, &ninety), Verdict::Worse);
    assert_eq!(verdict("1/s", &ninety, &HUNDRED), Verdict::Better);
    assert_eq!(verdict("s", &HUNDRED, &ninety), Verdict::Better);
    assert_eq!(verdict("µs/item", &ninety, &HUNDRED), Verdict::Worse);
    assert_eq!(verdict(TIMES_AS_DEAR, &ninety, &HUNDRED), Verdict::Worse);
    assert_eq!(verdict("flushes of the log", &HUNDRED, &ninety), Verdict::Aside);
}

#[test]
fn a_change_within_the_noise_or_within_the_spread_is_none() {
    let little = HUNDRED.map(|value| value * 0.97);
    let wide = [60.0, 75.0, 90.0, 105.0, 120.0];

    assert_eq!(verdict("1/s", &HUNDRED, &little), Verdict::Same);
    assert_eq!(verdict("1/s", &HUNDRED, &wide), Verdict::Same);
    assert_eq!(verdict("1/s", &HUNDRED, &HUNDRED), Verdict::Same);
}

#[test]
fn two_samples_say_nothing() {
    assert_eq!(verdict("1/s", &[100.0, 100.0], &[50.0, 50.0]), Verdict::Few);
}

#[test]
fn a_machine_that_became_slower_is_not_held_against_the_code() {
    let slower = HUNDRED.map(|value| value * 0.85);
    let (old, new) = (
        run(vec![row("a", "1/s", &HUNDRED), row("peer", "1/s", &HUNDRED)]),
        run(vec![row("a", "1/s", &slower), row("peer", "1/s", &slower)]),
    );

    let both = Comparison::of(&old, &new, 0.05).unwrap();

    assert!(!both.is_worse());
    assert!((both.noise - 0.15).abs() < 0.01, "{}", both.noise);
    assert!(both.table().contains("2 rows: 0 worse, 0 better, 0 unsure, 1 the same"), "{}", both.table());
}

#[test]
fn ratios_of_peers_say_nothing_about_the_machine() {
    let slower = HUNDRED.map(|value| value * 0.85);
    let of = |rates: &[f64]| {
        let peers = ["peer", "peer ÷ other", "peer ÷ third"].map(|name| row(name, "×", &HUNDRED));
        let [mut first, second, third] = peers;
        (first.unit, first.samples) = ("items/s".to_owned(), rates.to_vec());
        run(vec![row("a", "1/s", rates), first, second, third])
    };

    let both = Comparison::of(&of(&HUNDRED), &of(&slower), 0.05).unwrap();

    assert!(!both.is_worse() && (both.noise - 0.15).abs() < 0.01, "{}", both.noise);
}

#[test]
fn two_runs_of_the_same_are_hardly_ever_told_apart_and_one_row_that_fell_is_found() {
    let mut random = crate::random::Random::new(5);
    let mut drawn = || -> Vec<Kept> {
        let mut sample = || 100.0 + 60.0 * random.share();
        (0..100).map(|number| row(&number.to_string(), "1/s", &[sample(), sample(), sample()])).collect()
    };
    let mut worse = 0;
    for _ in 0..4 {
        worse += u32::from(Comparison::of(&run(drawn()), &run(drawn()), 0.05).unwrap().is_worse());
    }
    let (mut old, mut new) = (drawn(), drawn());
    (old[7].samples, new[7].samples) = (HUNDRED.to_vec(), HUNDRED.map(|value| value * 0.8).to_vec());

    let both = Comparison::of(&run(old), &run(new), 0.05).unwrap();

    assert_eq!(both.lines[7].verdict, Verdict::Worse);
    // By their intervals alone nearly every one of them is.
    assert!(worse <= 1, "{worse} of 4");
}

#[test]
fn rows_of_one_run_alone_are_counted_and_no_row_in_common_is_a_fault() {
    let old = run(vec![row("a", "1/s", &HUNDRED), row("gone", "1/s", &HUNDRED)]);
    let new = run(vec![row("a", "1/s", &HUNDRED), row("b", "1/s", &HUNDRED), row("c", "1/s", &HUNDRED)]);

    let both = Comparison::of(&old, &new, 0.05).unwrap();

    assert!(both.table().contains("1 only in the old run, 2 only in the new one"), "{}", both.table());
    assert!(both.is_worse() && both.table().contains("GONE, though its case was measured: sign, 1 in flight, gone"));
    let elsewhere = Kept { case: "another".to_owned(), ..row("gone", "1/s", &HUNDRED) };
    let old = run(vec![row("a", "1/s", &HUNDRED), row("peer, gone", "1/s", &HUNDRED), elsewhere]);
    assert!(!Comparison::of(&old, &new, 0.05).unwrap().is_worse());
    assert!(Comparison::of(&run(vec![row("x", "1/s", &HUNDRED)]), &new, 0.05).is_none());
}

/// A run of one row in a file, of a machine that is described so.
fn written(directory: &Path, name: &str, machine: serde_json::Value) -> std::path::PathBuf {
    let path = directory.join(name);
    let row = serde_json::json!(
        {"suite": "s", "case": "c", "subject": "a", "unit": "1/s", "whose": "ours", "samples": HUNDRED}
    );
    std::fs::write(&path, serde_json::json!({"machine": machine, "rows": [row]}).to_string()).unwrap();
    path
}

#[test]
fn runs_of_two_machines_are_refused_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str| written(directory.path(), name, serde_json::json!({"processor": name, "cores": 2}));
    let (old, new) = (write("this"), write("that"));

    let error = compare(&old, &new, 0.05, Machines::Same, Paths::Any).unwrap_err();

    assert!(error.to_string().contains("of two machines"), "{error}");
    assert!(!compare(&old, &new, 0.05, Machines::Any, Paths::Same).unwrap().is_worse());
}

#[test]
fn runs_by_two_paths_are_refused_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let by = |path: &str| serde_json::json!({"processor": "this", "cores": 2, (PATH): path});
    let none = written(directory.path(), "none", serde_json::json!({"processor": "this", "cores": 2}));
    let (avx2, again) = (written(directory.path(), "a", by("avx2")), written(directory.path(), "b", by("avx2")));
    let portable = written(directory.path(), "c", by("portable"));

    for (old, new) in [(&avx2, &portable), (&none, &avx2), (&avx2, &none)] {
        let error = compare(old, new, 0.05, Machines::Same, Paths::Same).unwrap_err().to_string();

        assert!(error.contains("--path avx2") && error.lines().count() == 2, "{error}");
        assert!(!compare(old, new, 0.05, Machines::Same, Paths::Any).unwrap().is_worse());
    }
    assert!(compare(&avx2, &again, 0.05, Machines::Same, Paths::Same).is_ok());
    assert!(compare(&none, &none, 0.05, Machines::Same, Paths::Same).is_ok());
}
