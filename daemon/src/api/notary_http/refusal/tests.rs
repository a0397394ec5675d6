use http_body_util::BodyExt as _;
use trust::format::tuf::RoleName;

use super::*;

fn text(refused: &NotServed) -> String {
    let body = refused.answer().into_body();
    let bytes = futures_of(body.collect());
    String::from_utf8(bytes.unwrap().to_bytes().to_vec()).unwrap()
}

/// A whole body is there at once.
fn futures_of<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a whole body waits for something"),
    }
}

#[test]
fn each_refusal_has_its_row() {
    let update = |refusal| NotServed::Update(refusal);
    let cases = [
        (
            NotServed::NotHere,
            404,
            r#"{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist."}]}"#,
        ),
        (
            NotServed::NoMetadata,
            404,
            r#"{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist.","detail":{}}]}"#,
        ),
        (
            NotServed::NoNumber("99".to_owned()),
            404,
            r#"{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist.","detail":{"Func":"Atoi","Num":"99","Err":{}}}]}"#,
        ),
        (
            update(Refusal::NoFileName),
            400,
            r#"{"errors":[{"code":"NO_FILENAME","message":"No file/role name provided."}]}"#,
        ),
        (
            update(Refusal::InvalidRole("bogus".to_owned())),
            400,
            r#"{"errors":[{"code":"INVALID_ROLE","message":"The role you are attempting to operate on is invalid.","detail":"bogus"}]}"#,
        ),
        (
            update(Refusal::Outdated(RoleName::Root)),
            400,
            r#"{"errors":[{"code":"VERSION","message":"A newer version of metadata is already available.","detail":{}}]}"#,
        ),
        (
            update(Refusal::BadRoot("why".to_owned())),
            400,
            r#"{"errors":[{"code":"INVALID_UPDATE","message":"Update sent by the client is invalid.","detail":{"Name":"ErrBadRoot","Error":{"Msg":"why"}}}]}"#,
        ),
        (
            update(Refusal::no_key_for(&RoleName::Snapshot)),
            400,
            r#"{"errors":[{"code":"INVALID_UPDATE","message":"Update sent by the client is invalid.","detail":{"Name":"ErrBadHierarchy","Error":{"Msg":"no snapshot was included in update and server does not hold current snapshot key for repository","Missing":"snapshot"}}}]}"#,
        ),
        (
            NotServed::PolicyRefuses(Some("ask the release team".to_owned())),
            400,
            r#"{"errors":[{"code":"INVALID_UPDATE","message":"Update sent by the client is invalid.","detail":{"Name":"ErrValidation","Error":{"Msg":"ask the release team"}}}]}"#,
        ),
        (
            NotServed::Gun { prefixes: vec!["a/".to_owned(), "b/".to_owned()] },
            400,
            r#"{"errors":[{"code":"INVALID_GUN","message":"The server does not support actions on images of this name.","detail":"Require GUNs with prefix: [a/ b/]"}]}"#,
        ),
        (
            NotServed::MalformedUpload,
            400,
            r#"{"errors":[{"code":"MALFORMED_UPLOAD","message":"The body of your request is malformed."}]}"#,
        ),
        (
            NotServed::Parameters(None),
            400,
            r#"{"errors":[{"code":"INVALID_PARAMETERS","message":"The parameters provided are not valid.","detail":{}}]}"#,
        ),
        (NotServed::Internal, 500, r#"{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}"#),
        (NotServed::Unavailable, 503, r#"{"errors":[{"code":"UNAVAILABLE","message":"service unavailable"}]}"#),
        (NotServed::Busy, 429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}"#),
        (
            NotServed::Denied,
            403,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
        ),
    ];
    for (refused, status, expected) in cases {
        assert_eq!(refused.answer().status().as_u16(), status, "{refused:?}");
        assert_eq!(text(&refused), format!("{expected}\n"));
    }
}

#[test]
fn a_client_is_told_where_to_get_a_token_and_when_to_come_back() {
    let need = Need { kind: "registry", class: "", name: "catalog".to_owned(), action: "*" };
    let challenge = Some("Bearer realm=\"https://a/t\"".to_owned());
    let refused = NotServed::Unauthorized { challenge, needs: vec![need] };

    assert_eq!(refused.answer().headers()[WWW_AUTHENTICATE], "Bearer realm=\"https://a/t\"");
    assert_eq!(
        text(&refused),
        "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\"detail\":\
         [{\"Type\":\"registry\",\"Class\":\"\",\"Name\":\"catalog\",\"Action\":\"*\"}]}]}\n"
    );
    assert_eq!(NotServed::Unavailable.answer().headers()[RETRY_AFTER], "1");
    assert!(NotServed::NotHere.answer().headers().get(RETRY_AFTER).is_none());
}

#[test]
fn no_body_is_longer_than_docker_reads() {
    let long = "\u{1}\"x\u{1f980}".repeat(4000);
    for refused in [
        NotServed::PolicyRefuses(Some(long.clone())),
        NotServed::Update(Refusal::BadTargets(long.clone())),
        NotServed::Update(Refusal::InvalidRole(long.clone())),
        NotServed::NoNumber("9".repeat(8000)),
        NotServed::Parameters(Some(long)),
        NotServed::Gun { prefixes: vec!["registry.example.com/team/".to_owned(); 256] },
        NotServed::Unauthorized {
            challenge: None,
            needs: vec![Need { kind: "repository", class: "", name: "a".repeat(255), action: "*" }; 9],
        },
    ] {
        let text = text(&refused);
        assert!(text.len() <= BODY_BYTES_MAX && text.len() > 700, "{}: {text}", text.len());
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["errors"].as_array().unwrap().len(), 1);
    }
}
