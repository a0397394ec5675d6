//! The documents and packaged files say what the daemon does.

use super::*;

/// A document or packaged file of the checkout.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn samples(document: &str) -> Vec<String> {
    text_of(document).split("```cedar\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_sample_of_the_documents_loads() {
    let samples =
        [samples("docs/policy.md"), samples("docs/permissions.md"), samples("docs/content-trust.md")].concat();

    assert!(samples.len() >= 6, "{}", samples.len());
    for sample in samples {
        from_text(&sample).unwrap_or_else(|error| panic!("{error}\n{sample}"));
    }
}

#[test]
fn the_packaged_policy_and_the_documented_one_are_the_default() {
    let bare = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        lines.map(ToOwned::to_owned).collect()
    };
    let default = bare(Authorizer::load(PolicySource::Default).unwrap().policy().texts().0);

    assert_eq!(bare(&text_of("packaging/policy.cedar")), default);
    assert_eq!(bare(&samples("docs/policy.md")[0]), default);
}

#[test]
fn the_example_in_the_packaged_policy_loads_when_its_comment_goes() {
    let text = text_of("packaging/policy.cedar");
    let example = text.split("// @id(").nth(1).unwrap().lines().map(|line| line.trim_start_matches("//"));

    let example = format!("@id({}", example.collect::<Vec<_>>().join("\n"));

    assert!(example.contains("team/release"), "{example}");
    from_text(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
}

#[test]
fn the_document_names_every_action_and_attribute() {
    let document = text_of("docs/policy.md");
    let policy = Policy::load(&PolicySource::Default).unwrap();
    let (_, schema) = policy.texts();
    let attributes = schema.lines().filter_map(|line| line.trim().split_once(": ")).filter_map(|(name, kind)| {
        let is_attribute = ["String", "Long", "Bool", "Set<"].iter().any(|known| kind.starts_with(known));
        is_attribute.then(|| name.trim_start_matches("context: { ").to_owned())
    });
    let names: Vec<String> = attributes.chain(Action::ALL.iter().map(|action| action.name().to_owned())).collect();

    assert!(names.len() > 35, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new());
}
