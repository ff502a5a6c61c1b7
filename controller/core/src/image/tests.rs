//! Facts about image references: what is accepted, what is said about what is not, and that nothing is lost on the way.

use proptest::prelude::*;

use super::*;

const SHA256: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn read(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn said(text: &str) -> String {
    Reference::parse(text).unwrap_err().to_string()
}

#[test]
fn a_reference_is_read_into_its_parts() {
    // text, registry, repository, tag
    let table = [
        ("nginx", "docker.io", "library/nginx", None),
        ("nginx:1.27", "docker.io", "library/nginx", Some("1.27")),
        ("shop/web:v1", "docker.io", "shop/web", Some("v1")),
        ("docker.io/nginx", "docker.io", "library/nginx", None),
        ("docker.io/library/nginx", "docker.io", "library/nginx", None),
        ("index.docker.io/shop/web", "docker.io", "shop/web", None),
        ("localhost/web", "localhost", "web", None),
        ("localhost:5000", "docker.io", "library/localhost", Some("5000")),
        ("127.0.0.1:5555/example/app:v1", "127.0.0.1:5555", "example/app", Some("v1")),
        ("[::1]:5000/web:1", "[::1]:5000", "web", Some("1")),
        ("[2001:db8::1]/web", "[2001:db8::1]", "web", None),
        ("Registry.Example.COM/web", "registry.example.com", "web", None),
        (
            "1234.dkr.ecr.us-east-1.amazonaws.com/github/prx/web:b_7",
            "1234.dkr.ecr.us-east-1.amazonaws.com",
            "github/prx/web",
            Some("b_7"),
        ),
        ("ghcr.io/a--b/c__d/e.f_g:_x", "ghcr.io", "a--b/c__d/e.f_g", Some("_x")),
        ("xn--n3h.example/web:UPPER-Case.1", "xn--n3h.example", "web", Some("UPPER-Case.1")),
    ];
    for (text, registry, repository, tag) in table {
        let reference = read(text);
        assert_eq!((reference.registry(), reference.repository(), reference.tag()), (registry, repository, tag), "{text}");
        assert_eq!(reference.to_string(), text);
        assert_eq!(reference.digest(), None, "{text}");
    }
}

#[test]
fn a_digest_stands_beside_a_tag_or_alone() {
    let both = read(&format!("ghcr.io/shop/web:v1@{SHA256}"));
    assert_eq!((both.tag(), both.digest().map(ToString::to_string).as_deref()), (Some("v1"), Some(SHA256)));
    let alone = read(&format!("ghcr.io/shop/web@{SHA256}"));
    assert_eq!((alone.tag(), alone.open_tag()), (None, None));
}

#[test]
fn only_a_reference_without_digest_has_a_tag_to_look_up() {
    assert_eq!(read("web:v1").open_tag(), Some("v1"));
    assert_eq!(read("web").open_tag(), Some("latest"));
    assert_eq!(read(&format!("web:v1@{SHA256}")).open_tag(), None);
}

#[test]
fn pinning_keeps_the_spelling_and_drops_the_tag() {
    let digest = Digest::parse(SHA256).unwrap();
    assert_eq!(read("nginx:1.27").pinned(&digest), format!("nginx@{SHA256}"));
    assert_eq!(read("docker.io/library/nginx").pinned(&digest), format!("docker.io/library/nginx@{SHA256}"));
    assert_eq!(read("LocalHost.example:5000/web:v1").pinned(&digest), format!("LocalHost.example:5000/web@{SHA256}"));
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let long_tag = format!("web:{}", "x".repeat(129));
    let long_repository = format!("ghcr.io/{}", "x".repeat(256));
    let table = [
        ("", r#"image reference "": it is empty"#),
        ("Web:1", r#"image reference "Web:1": the repository has an upper-case letter ("W" at character 1)"#),
        ("Team/web:1", r#"image reference "Team/web:1": the repository has an upper-case letter ("T" at character 1)"#),
        (
            "ghcr.io/shop/weB",
            r#"image reference "ghcr.io/shop/weB": the repository has an upper-case letter ("B" at character 16)"#,
        ),
        ("web:", r#"image reference "web:": the tag is missing after ":" (at its end)"#),
        ("web:.1", r#"image reference "web:.1": the tag begins with "." or "-" ("." at character 5)"#),
        (
            "web:a:b",
            r#"image reference "web:a:b": the tag has a character other than letters, digits, "_", "." and "-" (":" at character 6)"#,
        ),
        ("web:v1 ", r#"image reference "web:v1 ": it has a blank or a control character (" " at character 7)"#),
        ("web@", r#"image reference "web@": the digest is missing after "@" (at its end)"#),
        (
            "web@md5:abc",
            r#"image reference "web@md5:abc": the digest begins with neither "sha256:" nor "sha512:" ("m" at character 5)"#,
        ),
        ("web@sha256:abc", r#"image reference "web@sha256:abc": the sha256 digest has 3 digits instead of 64 (at its end)"#),
        (
            "web@sha256:aBc",
            r#"image reference "web@sha256:aBc": the digest has a character other than 0-9 and a-f ("B" at character 13)"#,
        ),
        ("web@a@b", r#"image reference "web@a@b": the digest begins with neither "sha256:" nor "sha512:" ("a" at character 5)"#),
        (
            "https://ghcr.io/web",
            r#"image reference "https://ghcr.io/web": it begins with a scheme; an image reference has none, write registry/repository:tag (":" at character 6)"#,
        ),
        (":v1", r#"image reference ":v1": the repository is missing (":" at character 1)"#),
        ("ghcr.io/", r#"image reference "ghcr.io/": the repository is missing (at its end)"#),
        ("[::1]:5000", r#"image reference "[::1]:5000": the repository is missing (at its end)"#),
        ("a//b", r#"image reference "a//b": the repository has an empty part beside a "/" ("/" at character 3)"#),
        ("/web", r#"image reference "/web": the repository has an empty part beside a "/" ("/" at character 1)"#),
        ("a-/b", r#"image reference "a-/b": a part of the repository ends with ".", "_" or "-" ("-" at character 2)"#),
        ("a/_b", r#"image reference "a/_b": a part of the repository begins with ".", "_" or "-" ("_" at character 3)"#),
        (
            "a._b",
            r#"image reference "a._b": the repository has separators side by side other than "__" and "--" ("_" at character 3)"#,
        ),
        (
            "a___b",
            r#"image reference "a___b": the repository has separators side by side other than "__" and "--" ("_" at character 4)"#,
        ),
        (
            "shop/wäb",
            r#"image reference "shop/wäb": the repository has a character other than a-z, 0-9, "/", ".", "_" and "-" ("ä" at character 7)"#,
        ),
        (
            "ghcr.io:99999/a",
            r#"image reference "ghcr.io:99999/a": the registry's port is not a number from 1 to 65535 ("9" at character 9)"#,
        ),
        (
            "ghcr.io:/a",
            r#"image reference "ghcr.io:/a": the registry's port is not a number from 1 to 65535 ("/" at character 9)"#,
        ),
        (
            "ghcr..io/a",
            r#"image reference "ghcr..io/a": the registry's host has an empty part beside a dot ("." at character 6)"#,
        ),
        (
            "-ghcr.io/a",
            r#"image reference "-ghcr.io/a": a part of the registry's host begins or ends with "-" ("-" at character 1)"#,
        ),
        (
            "gh_cr.io/a",
            r#"image reference "gh_cr.io/a": the registry's host has a character that host names do not have ("_" at character 3)"#,
        ),
        (
            "[::g]/a",
            r#"image reference "[::g]/a": the registry's host is not an IPv6 address in square brackets (":" at character 2)"#,
        ),
    ];
    for (text, sentence) in table {
        assert_eq!(said(text), sentence);
    }
    assert_eq!(Reference::parse(&long_tag).unwrap_err().fault(), &Fault::TagTooLong);
    assert_eq!(Reference::parse(&long_repository).unwrap_err().fault(), &Fault::RepositoryTooLong);
    assert_eq!(Reference::parse(&"a/".repeat(600)).unwrap_err().fault(), &Fault::TooLong);
    assert_eq!(Reference::parse(&SHA256[7..]).unwrap_err().fault(), &Fault::ImageId);
}

#[test]
fn an_error_shows_only_the_beginning_of_a_long_text() {
    let sentence = said(&"A".repeat(900));
    assert!(sentence.len() < 250 && sentence.contains('…'), "{sentence}");
}

#[test]
fn a_digest_of_known_bytes_is_spelled_like_any_other() {
    let mut hash = [0_u8; 32];
    hash[0] = 0x9f;
    let digest = Digest::from_sha256(hash);
    assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
}

fn host() -> impl Strategy<Value = String> {
    let port = proptest::option::of(1_u16..).prop_map(|port| port.map(|port| format!(":{port}")).unwrap_or_default());
    let name = prop_oneof![
        Just("localhost".to_owned()),
        Just("[::1]".to_owned()),
        Just("127.0.0.1".to_owned()),
        "[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-z0-9])?\\.[a-z]{2,3}",
    ];
    (name, port).prop_map(|(name, port)| format!("{name}{port}/"))
}

fn reference() -> impl Strategy<Value = String> {
    let host = proptest::option::of(host()).prop_map(Option::unwrap_or_default);
    // No dot in the first part: without a host before it, it would be one.
    let path = "[a-z0-9]{1,6}((_|__|-|--)[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}((\\.|_|__|-)[a-z0-9]{1,4}){0,1}){0,3}";
    let tag = proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,12}")
        .prop_map(|tag| tag.map(|tag| format!(":{tag}")).unwrap_or_default());
    let digest = prop_oneof![Just(String::new()), "@sha256:[0-9a-f]{64}", "@sha512:[0-9a-f]{128}"];
    (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
}

proptest! {
    #[test]
    fn every_reference_of_the_grammar_is_read_and_written_back_unchanged(text in reference()) {
        let parsed = Reference::parse(&text);
        prop_assert!(parsed.is_ok(), "{:?}", parsed);
        prop_assert_eq!(parsed.unwrap().to_string(), text);
    }

    #[test]
    fn pinning_names_the_same_repository_and_only_the_digest(text in reference(), hash in any::<[u8; 32]>()) {
        let (reference, digest) = (Reference::parse(&text).unwrap(), Digest::from_sha256(hash));
        let pinned = Reference::parse(&reference.pinned(&digest)).unwrap();
        prop_assert_eq!((pinned.registry(), pinned.repository(), pinned.name()), (reference.registry(), reference.repository(), reference.name()));
        prop_assert_eq!((pinned.tag(), pinned.digest(), pinned.open_tag()), (None, Some(&digest), None));
    }

    #[test]
    fn any_text_is_either_read_unchanged_or_refused_in_words(text in ".*") {
        match Reference::parse(&text) {
            Ok(reference) => prop_assert_eq!(reference.to_string(), text),
            Err(error) => prop_assert!(error.to_string().starts_with("image reference ")),
        }
    }

    #[test]
    fn text_of_the_right_letters_is_either_read_unchanged_or_refused_in_words(text in "[a-bA:/@.\\-_\\[\\]0ä]{0,14}(sha256:)?[0-9a-f]{0,3}") {
        match Reference::parse(&text) {
            Ok(reference) => prop_assert_eq!(reference.to_string(), text),
            Err(error) => prop_assert!(error.to_string().starts_with("image reference ")),
        }
    }
}
