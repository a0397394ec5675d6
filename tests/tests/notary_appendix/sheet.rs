//! The sheet on which each answer is noted beside the original's.

use std::collections::BTreeMap;

use serde_json::Value;

use super::differences::DIFFERENCES;
use super::scene::Answer;

/// What was answered to each probe, and what the original answered.
pub(crate) struct Sheet {
    pub(crate) original: BTreeMap<String, (u16, String)>,
    pub(crate) ours: BTreeMap<String, (u16, String)>,
}

impl Sheet {
    pub(crate) fn new() -> Self {
        let lines = include_str!("../notary/appendix_a.tsv").lines().skip(1);
        let original = lines.map(|line| {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().unwrap_or_default().to_owned();
            (cell(), (cell().parse().unwrap(), cell()))
        });
        Self { original: original.collect(), ours: BTreeMap::new() }
    }

    pub(crate) fn note(&mut self, probe: &str, answer: &Answer) {
        assert!(self.original.contains_key(probe), "{probe} is not in the appendix");
        assert!(self.ours.insert(probe.to_owned(), (answer.status, said(answer))).is_none(), "{probe} twice");
    }

    /// Nothing is left out, and every difference is one that is known.
    pub(crate) fn check(&self) {
        let left_out: Vec<_> = self.original.keys().filter(|probe| !self.ours.contains_key(*probe)).collect();
        assert!(left_out.is_empty(), "not played: {left_out:#?}");
        let known: BTreeMap<&str, (u16, &str)> =
            DIFFERENCES.iter().map(|(probe, status, said, _)| (*probe, (*status, *said))).collect();
        let mut wrong = Vec::new();
        for (probe, ours) in &self.ours {
            let original = &self.original[probe];
            let expected =
                known.get(probe.as_str()).map_or(original.clone(), |(status, said)| (*status, (*said).to_owned()));
            if *ours != expected || (known.contains_key(probe.as_str()) && ours == original) {
                wrong.push(format!("{probe}: expected {expected:?}, the original {original:?}, ours {ours:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Code and detail in the words of the appendix.
fn said(answer: &Answer) -> String {
    if answer.status == 200 {
        return if answer.body.is_empty() { "(ok)" } else { "(body)" }.to_owned();
    }
    if !answer.text().starts_with('{') {
        return String::new();
    }
    assert!(answer.body.len() <= 1024, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    let (code, detail) = (error["code"].as_str().unwrap(), &error["detail"]);
    let said = match (&detail["Name"], detail) {
        (Value::String(name), _) => format!("{code} / {name}: {}", detail["Error"]["Msg"].as_str().unwrap()),
        (_, Value::Null) => code.to_owned(),
        (_, Value::Object(members)) => {
            // By name: in which order serde_json keeps them depends on what else is built beside this.
            let members: BTreeMap<_, _> = members.iter().collect();
            format!("{code} {}", serde_json::to_string(&members).unwrap())
        }
        (_, detail) => format!("{code} {detail}"),
    };
    without_ids(&said)
}

fn without_ids(text: &str) -> String {
    let is_hex = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(' ').map(|word| if is_hex(word) { "<id>" } else { word }).collect::<Vec<_>>().join(" ")
}
