//! Where an answer differs from the original's, and which tests ask what the appendix did not.

/// Probe, our answer, and how the row begins that says so.
pub(crate) const DIFFERENCES: &[(&str, u16, &str, &str)] = &[
    ("POST truncated multipart", 400, "MALFORMED_UPLOAD", "an upload that is cut short"),
    (
        "root timestamp key unknown to server",
        400,
        "INVALID_UPDATE / ErrBadRoot: no  timestamp keys exist on the server",
        "a key of the server's that it does not hold",
    ),
    (
        "snapshot key not held + no snapshot sent",
        400,
        "INVALID_UPDATE / ErrBadHierarchy: no snapshot was included in update and server does not hold current snapshot key for repository",
        "a key of the server's that it does not hold",
    ),
    (
        "client-snapshot repo: targets v2 no snapshot",
        400,
        "INVALID_UPDATE / ErrBadHierarchy: no snapshot was included in update and server does not hold current snapshot key for repository",
        "a key of the server's that it does not hold",
    ),
    (
        "targets with trailing garbage",
        400,
        "INVALID_UPDATE / ErrBadTargets: metadata: JSON and nothing behind it",
        "something behind a file's JSON",
    ),
    ("duplicate role parts (v16 then v17)", 400, "VERSION {}", "a role twice in one upload"),
    (
        "root v3 with new targets key without new targets",
        400,
        "INVALID_UPDATE / ErrBadTargets: valid signatures did not meet threshold for targets",
        "a root that leaves the targets to nobody",
    ),
    (
        "client-snapshot: only snapshot, stale targets hash (no targets part)",
        400,
        "INVALID_UPDATE / ErrBadSnapshot: sha256 checksum for targets did not match: expected <id>",
        "a snapshot of files that are not there",
    ),
    ("GET targets.09CC23F62454FFD4.. [77]", 200, "(body)", "metadata by its hash"),
    ("changefeed gun ?records=-2", 200, "(body)", "the changefeed with `records=-2` alone"),
    ("changefeed all ?records=-2", 200, "(body)", "the changefeed with `records=-2` alone"),
];

/// Rows about what the appendix did not ask: the tests that ask it, by file and name.
pub(crate) const ASKED_ELSEWHERE: &[(&str, &str, &[&str])] = &[
    (
        "tests/tests/notary_differences.rs",
        "what_is_no_upload_or_no_name_is_refused_in_short_words",
        &["an upload beyond `upload_mib_max`, or of more than 512 files", "names of repositories", "`INVALID_ROLE`"],
    ),
    (
        "tests/tests/notary_door.rs",
        "a_body_that_is_no_upload_is_refused_and_breaks_nothing",
        &["an upload beyond `upload_mib_max`, or of more than 512 files"],
    ),
    ("tests/tests/notary_peers.rs", "a_policys_words_reach_whoever_pushes", &["the policy does not allow it"]),
    ("tests/tests/notary_differences.rs", "too_much_at_once_is_told_to_come_back", &["too much at once"]),
    (
        "tests/tests/notary_door.rs",
        "a_sealed_daemon_says_so_in_the_words_of_health",
        &["sealed, custody away, disk full"],
    ),
    ("daemon/src/api/notary_http/refusal/tests.rs", "no_body_is_longer_than_docker_reads", &["an error's body"]),
    (
        "tests/tests/notary_door.rs",
        "what_was_never_published_is_looked_up_and_not_there",
        &["version 0, or beyond 2³¹−2", "a delegation that nobody has published"],
    ),
    (
        "tests/tests/publishing.rs",
        "eight_readers_see_whole_publications_and_never_an_older_one",
        &["one page of the changefeed"],
    ),
    (
        "tests/tests/notary_matrix.rs",
        "what_is_published_is_read_by_name_version_and_hash_with_its_headers",
        &["`Last-Modified`"],
    ),
    (
        "daemon/src/api/notary_http/answer.rs",
        "what_was_read_under_a_name_is_kept_for_nobody_else",
        &["`Cache-Control` for whoever has a name"],
    ),
    (
        "daemon/src/identity/bearer/tests.rs",
        "a_token_that_is_too_long_or_grants_too_much_is_not_taken",
        &["a token of more than 16 KiB"],
    ),
    ("daemon/src/identity/bearer/tests.rs", "a_token_for_nobody_names_no_account", &["a token of more than 16 KiB"]),
    ("tests/tests/notary_door.rs", "the_door_says_how_it_is", &["`/metrics`"]),
    ("daemon/src/api/notary_http.rs", "only_whoever_is_on_this_machine_is_local", &["`/metrics`"]),
    (
        "tests/tests/notary_differences.rs",
        "versions_do_not_leap_and_go_on_after_a_deletion",
        &["a version far beyond the last", "a repository that was deleted and is published again"],
    ),
    (
        "tests/tests/notary_differences.rs",
        "json_that_readers_do_not_agree_about_and_what_is_too_large_is_no_metadata",
        &["JSON that readers do not agree about", "the size of metadata", "a line of `signatures`"],
    ),
    ("tests/tests/notary_differences.rs", "signatures_of_pycrypto_count_for_nothing", &["signatures by PyCrypto"]),
    ("tests/tests/notary_differences.rs", "signatures_of_keys_on_p_224_count_for_nothing", &["signatures by PyCrypto"]),
    ("tests/tests/notary_differences.rs", "a_root_certificate_has_one_name", &["a certificate of root with two names"]),
    (
        "tests/tests/notary_door.rs",
        "a_length_that_no_upload_has_is_refused_whatever_it_is",
        &["a `Content-Length` of 2⁶³ or more"],
    ),
    (
        "tests/tests/notary_differences.rs",
        "a_clients_snapshot_names_every_delegation_and_nothing_but_roles",
        &["a snapshot that leaves out a delegation's file", "a snapshot that names what is no role"],
    ),
    (
        "trust/tests/format_tuf_publish/snapshots.rs",
        "a_snapshot_names_what_is_there_and_all_of_it",
        &["a snapshot with another length or SHA-512"],
    ),
    (
        "tests/tests/notary_differences.rs",
        "what_says_too_little_or_a_thing_twice_is_refused",
        &[
            "a target without SHA-256 and SHA-512",
            "a key with a private half",
            "a key twice in a role",
            "a key under a name that is not its hash",
            "control characters in names",
            "a file that is neither sound nor signed",
            "hashes as lists of numbers",
            "a hash in base64 whose last letter",
            "a target of a length below 0",
            "a threshold above 2³²−1",
        ],
    ),
    (
        "tests/tests/notary_differences.rs",
        "a_root_has_keys_and_roles_that_say_what_they_are",
        &["a key that is `null`", "a key without `keytype`", "a threshold below 0", "the server's key for one role"],
    ),
    ("daemon/src/api/notary_http/upload.rs", "a_boundary_is_named_by_a_content_type", &["the form of an upload"]),
    ("trust/tests/format_tuf/signatures.rs", "one_key_under_two_names_counts_once", &["one key in two forms"]),
    (
        "daemon/src/publish/tests/renew.rs",
        "what_only_its_owner_can_sign_anew_is_read_without_a_turn",
        &["a snapshot that has expired"],
    ),
    (
        "daemon/src/publish/tests/uploads.rs",
        "an_upload_that_says_nothing_signs_nothing_where_all_is_current",
        &["an upload without a file"],
    ),
    (
        "daemon/src/publish/tests/room.rs",
        "what_nobody_delegates_to_any_more_leaves_when_others_need_the_room",
        &["files of delegations that there are no more"],
    ),
    (
        "daemon/src/publish/tests/room.rs",
        "a_snapshot_that_was_sent_names_few_that_nobody_delegates_to",
        &["a snapshot that was sent and names roles that nobody delegates to"],
    ),
    (
        "daemon/src/publish/tests/renew.rs",
        "a_timestamp_is_signed_anew_each_day_though_nobody_reads_it",
        &["timestamps"],
    ),
];
