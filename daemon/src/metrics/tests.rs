use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::*;

fn page(metrics: &Metrics) -> String {
    let mut page = String::new();
    text::encode(&mut page, &metrics.registry).unwrap();
    page
}

#[test]
fn every_method_of_the_protocol_has_its_label() {
    let files = FileDescriptorSet::decode(trust_proto::v1::DESCRIPTORS).unwrap().file;
    let mut methods = BTreeSet::new();
    for file in files {
        let package = file.package().to_owned();
        for service in file.service {
            for method in &service.method {
                methods.insert(format!("{package}.{}/{}", service.name(), method.name()));
            }
        }
    }
    let ours: BTreeSet<String> =
        METHODS.iter().filter(|name| name.starts_with("trust.")).map(ToString::to_string).collect();

    assert_eq!(ours, methods);
    assert!(METHODS.is_sorted());
}

#[test]
fn what_is_no_method_shares_one_label() {
    assert_eq!(Method::of_path("/trust.v1.Keys/GetKey").name(), "trust.v1.Keys/GetKey");
    for path in ["", "/", "/trust.v1.Keys/getKey", "/../../etc/passwd", "/other"] {
        assert_eq!(Method::of_path(path).name(), "other", "{path}");
    }
}

#[test]
fn a_call_is_in_flight_until_it_is_answered_or_given_up() {
    let metrics = Metrics::default();
    let method = Method::of_path("/trust.v1.Signing/Sign");

    let answered = metrics.begin(method);
    let given_up = metrics.begin(method);
    assert!(page(&metrics).contains("trustd_calls_in_flight 2"));
    answered.end(Answer::Fault(FaultKind::Busy), Duration::from_millis(2));
    drop(given_up);

    let page = page(&metrics);
    assert!(page.contains("trustd_calls_in_flight 0"), "{page}");
    for answer in ["busy", "cancelled"] {
        let line = format!("trustd_calls_total{{method=\"trust.v1.Signing/Sign\",answer=\"{answer}\"}} 1");
        assert!(page.contains(&line), "{page}");
    }
    assert!(page.contains("trustd_call_seconds_count{method=\"trust.v1.Signing/Sign\"} 1"), "{page}");
}

#[test]
fn signatures_and_refusals_are_counted_by_closed_words() {
    let metrics = Metrics::default();

    metrics.signed(Algorithm::Ed25519, Form::Raw, 1024);
    metrics.refused(Action::ReadStatus, "not-permitted");
    metrics.rate_limited();

    let page = page(&metrics);
    assert!(page.contains("trustd_signatures_total{algorithm=\"ed25519\",form=\"raw\"} 1024"), "{page}");
    assert!(page.contains("reason=\"not-permitted\"} 1"), "{page}");
    assert!(page.contains("trustd_rate_limited_total 1"), "{page}");
}
