//! One attempt against a small registry on a loopback port: every way to be let in, and every way to be refused.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bascule_core::image::Digest;

use super::super::credentials::ConfigFormat;
use super::super::fake_registry::{Door, FakeRegistry, Manifest, digest_of};
use super::super::pull_secrets::{PullSecretConfig, PullSecretsFound, PullSecretsUnread};
use super::super::{Access, EcrLogin, Hidden, PlainHttp};
use bascule_core::sources::{Scope, Wish};

use super::*;

/// Pull secrets of a test: name, host, user, password.
struct Secrets(Mutex<Result<PullSecretsFound, PullSecretsUnread>>);

impl PullSecrets for Secrets {
    fn read<'a>(&'a self, _: &'a Access) -> BoxFuture<'a, Result<PullSecretsFound, PullSecretsUnread>> {
        Box::pin(async { self.0.lock().unwrap().clone() })
    }
}

fn client() -> RegistryClient {
    // The second test of the process finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    RegistryClient::new(PlainHttp::default()).unwrap()
}

fn openly() -> Resolver {
    Resolver::new(client(), None, None)
}

fn with_secrets(secrets: &[(&str, &str, &str, &str)]) -> Resolver {
    let configs = secrets.iter().map(|(name, host, username, password)| {
        let config = serde_json::json!({"auths": {*host: {"username": username, "password": password}}});
        PullSecretConfig {
            name: (*name).into(),
            format: ConfigFormat::Config,
            bytes: Hidden::new(config.to_string().into_bytes()),
        }
    });
    let found = PullSecretsFound { configs: configs.collect(), remarks: vec![] };
    Resolver::new(client(), None, Some(Arc::new(Secrets(Mutex::new(Ok(found))))))
}

fn question(registry: &FakeRegistry, tag: &str) -> Question {
    let access = Access::PullSecrets { namespace: "shop".into(), names: BTreeSet::from(["regcred".into()]) };
    Question {
        registry: registry.place(),
        repository: "shop/web".into(),
        tag: tag.into(),
        access,
        aws: None,
        wish: Wish::Digest,
        written: 0,
    }
}

async fn registry(door: Door) -> FakeRegistry {
    let registry = FakeRegistry::start(door).await;
    registry.hold("shop/web:v1", Manifest::new("one"));
    registry
}

const BASIC: Door = Door::Basic { user: "ada", password: "s3cret" };
const BEARER: Door = Door::Bearer { user: "ada", password: "s3cret", anonymous: false };
const PUBLIC_BEARER: Door = Door::Bearer { user: "ada", password: "s3cret", anonymous: true };
const TOKEN: &str = "GET /token?service=fake&scope=repository%3Ashop%2Fweb%3Apull";
const HEAD: &str = "HEAD /v2/shop/web/manifests/v1";

#[tokio::test]
async fn an_open_registry_is_asked_once_and_shown_nothing() {
    let registry = registry(Door::Open).await;
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    assert_eq!(registry.log(), [HEAD]);
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_named() {
    let registry = registry(Door::Open).await;
    let error = openly().describe(&question(&registry, "v9")).await.unwrap_err();
    assert_eq!((error.category(), error.is_transient()), ("NotFound", false));
    assert_eq!(error.to_string(), format!("tag \"v9\" does not exist in {}/shop/web", registry.place()));
}

#[tokio::test]
async fn a_missing_digest_header_is_made_up_for_by_the_manifest_itself() {
    let registry = registry(Door::Open).await;
    registry.hold("shop/web:v2", Manifest { stated: None, ..Manifest::new("two") });
    assert_eq!(openly().describe(&question(&registry, "v2")).await, Ok(digest_of("two").into()));
    assert_eq!(registry.log(), ["HEAD /v2/shop/web/manifests/v2", "GET /v2/shop/web/manifests/v2"]);
}

/// An image of two platforms, with a label; gives the digest of its index.
fn hold_labelled(registry: &FakeRegistry, name: &str, config: &str) -> Digest {
    registry.hold_blob(config);
    let manifest = format!(r#"{{"config": {{"digest": "{}"}}, "layers": []}}"#, digest_of(config));
    registry.hold(&format!("shop/web:{}", digest_of(&manifest)), Manifest::new(&manifest));
    let platform = r#"{"os": "linux", "architecture": "arm64"}"#;
    let index = format!(r#"{{"manifests": [{{"digest": "{}", "platform": {platform}}}]}}"#, digest_of(&manifest));
    registry.hold(name, Manifest::new(&index));
    digest_of(&index)
}

const CONFIG: &str = r#"{"config": {"Labels": {"build": "7"}}}"#;

fn labels_of(registry: &FakeRegistry, tag: &str) -> Question {
    Question { wish: Wish::Order, ..question(registry, tag) }
}

#[tokio::test]
async fn labels_are_found_behind_an_index_with_the_same_credential() {
    let registry = registry(BASIC).await;
    let digest = hold_labelled(&registry, "shop/web:v7", CONFIG);
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    let found = resolver.describe(&labels_of(&registry, "v7")).await.unwrap();
    assert_eq!((found.digest, found.labels), (digest, [("build".to_owned(), "7".to_owned())].into()));
    assert_eq!(found.platforms, ["linux/arm64".to_owned()].into());
    let log = registry.log();
    assert_eq!(log.len(), 4, "{log:?}");
    assert!(log[3].starts_with("GET /v2/shop/web/blobs/sha256:") && log[3].ends_with("Basic"), "{log:?}");
}

#[tokio::test]
async fn what_a_digest_says_is_read_once() {
    let registry = registry(Door::Open).await;
    hold_labelled(&registry, "shop/web:v7", CONFIG);
    let resolver = openly();
    let first = resolver.describe(&labels_of(&registry, "v7")).await.unwrap();
    assert_eq!(registry.log().len(), 3);
    assert_eq!(resolver.describe(&labels_of(&registry, "v7")).await, Ok(first));
    assert_eq!(registry.log(), ["GET /v2/shop/web/manifests/v7"], "whether it may be read is asked each time");
}

#[tokio::test]
async fn an_image_that_does_not_tell_what_it_is_is_still_one() {
    let registry = registry(Door::Open).await;
    let digest = hold_labelled(&registry, "shop/web:v7", "no configuration");
    let about = Question { wish: Wish::About, ..question(&registry, "v7") };
    assert_eq!(openly().describe(&about).await, Ok(digest.into()));
    assert!(openly().describe(&labels_of(&registry, "v7")).await.is_err(), "unless an order depends on it");
}

const ECR: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

/// AWS, as far as registries go.
struct Tokens(Result<&'static str, EcrRefusal>);

impl EcrLogins for Tokens {
    fn login<'a>(&'a self, scope: &'a Scope, registry: &'a str) -> BoxFuture<'a, Result<EcrLogin, EcrRefusal>> {
        assert_eq!((scope.role_arn.as_deref(), registry), (Some("reader"), ECR));
        let login = |password: &str| EcrLogin { username: Hidden::new("AWS".into()), password: Hidden::new(password.into()) };
        let answer = self.0.clone().map(login);
        Box::pin(async move { answer })
    }
}

async fn at_ecr(tokens: Result<&'static str, EcrRefusal>) -> Result<Described, LookupError> {
    let registry = registry(Door::Basic { user: "AWS", password: "token" }).await;
    let places = PlainHttp::default().reached_at([(ECR.to_owned(), registry.place())]);
    let resolver = Resolver::new(RegistryClient::new(places).unwrap(), None, None).with_ecr(Some(Arc::new(Tokens(tokens))));
    let aws = Some(Scope { role_arn: Some("reader".into()), ..Scope::default() });
    resolver.describe(&Question { registry: ECR.into(), aws, ..question(&registry, "v1") }).await
}

#[tokio::test]
async fn registries_of_aws_are_read_with_a_token_of_the_environments_role() {
    assert_eq!(at_ecr(Ok("token")).await, Ok(digest_of("one").into()));
    let denied = at_ecr(Err(EcrRefusal::Denied("AccessDeniedException: not authorized".into()))).await.unwrap_err();
    assert_eq!(
        denied.to_string(),
        format!(
            "reading {ECR}/shop/web is denied without credentials; AWS gives no token for it: AccessDeniedException: not authorized"
        )
    );
    let away = at_ecr(Err(EcrRefusal::Unreachable("no answer in time".into()))).await.unwrap_err();
    assert!(away.is_transient() && away.to_string().contains("no answer in time"), "{away}");
}

#[tokio::test]
async fn a_blob_that_is_kept_elsewhere_is_fetched_without_the_credential() {
    let (registry, elsewhere) = (registry(BASIC).await, registry(Door::Open).await);
    hold_labelled(&registry, "shop/web:v7", CONFIG);
    elsewhere.hold_blob(CONFIG);
    registry.keep_blobs_at(&elsewhere);
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    let found = resolver.describe(&labels_of(&registry, "v7")).await.unwrap();
    assert_eq!(found.labels.len(), 1);
    let log = elsewhere.log();
    assert!(log.len() == 1 && !log[0].contains("Basic"), "{log:?}");
}

#[tokio::test]
async fn a_configuration_that_is_another_than_the_manifest_names_is_refused() {
    let registry = registry(Door::Open).await;
    hold_labelled(&registry, "shop/web:v7", CONFIG);
    registry.put_blob(&digest_of(CONFIG).to_string(), r#"{"config": {"Labels": {"build": "9"}}}"#);
    let error = openly().describe(&labels_of(&registry, "v7")).await.unwrap_err();
    assert!(error.to_string().contains("does not match its digest"), "{error}");
}

#[tokio::test]
async fn a_registry_without_head_is_asked_with_get() {
    let registry = registry(Door::Open).await;
    registry.know_no_head();
    assert_eq!(openly().describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
}

#[tokio::test]
async fn answers_that_are_no_manifests_are_not_taken_for_one() {
    let registry = registry(Door::Open).await;
    let good = Manifest::new("one");
    let table = [
        (Manifest { stated: Some("sha256:abc".into()), ..good.clone() }, "its Docker-Content-Digest is not a digest"),
        (Manifest { stated: None, kind: "text/html", ..good.clone() }, "it does not say that it is an image manifest"),
        (
            Manifest { kind: "application/vnd.docker.distribution.manifest.v1+prettyjws", ..good.clone() },
            "it is no image manifest of a kind that nodes can run today",
        ),
        (Manifest { stated: None, body: vec![b' '; 4 * 1024 * 1024 + 1], ..good }, "it is larger than 4096 KiB"),
    ];
    for (manifest, what) in table {
        registry.hold("shop/web:odd", manifest);
        let error = openly().describe(&question(&registry, "odd")).await.unwrap_err();
        assert_eq!(error, LookupError::malformed(&registry.place(), what));
    }
}

#[tokio::test]
async fn a_manifest_that_does_not_match_its_digest_is_refused() {
    let registry = registry(Door::Open).await;
    registry.know_no_head();
    registry.hold("shop/web:odd", Manifest { stated: Some(digest_of("other").to_string()), ..Manifest::new("one") });
    let error = openly().describe(&question(&registry, "odd")).await.unwrap_err();
    assert_eq!(error, LookupError::malformed(&registry.place(), "the manifest does not match its digest"));
}

#[tokio::test]
async fn user_and_password_are_shown_only_after_they_were_demanded() {
    let registry = registry(BASIC).await;
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    assert_eq!(registry.log(), [HEAD.to_owned(), format!("{HEAD} Basic")]);
}

#[tokio::test]
async fn a_token_is_fetched_with_the_login_and_used_until_it_ends() {
    let registry = registry(BEARER).await;
    registry.hold("shop/web:v2", Manifest::new("two"));
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    assert_eq!(registry.log(), [HEAD.to_owned(), format!("{TOKEN} Basic"), format!("{HEAD} Bearer")]);

    assert_eq!(resolver.describe(&question(&registry, "v2")).await, Ok(digest_of("two").into()));
    assert_eq!(registry.log(), ["HEAD /v2/shop/web/manifests/v2", "HEAD /v2/shop/web/manifests/v2 Bearer"]);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced() {
    let registry = registry(BEARER).await;
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    registry.revoke_tokens();
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
}

#[tokio::test]
async fn a_public_image_behind_a_token_server_needs_no_login() {
    let registry = registry(PUBLIC_BEARER).await;
    assert_eq!(openly().describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    assert_eq!(registry.log(), [HEAD.to_owned(), TOKEN.to_owned(), format!("{HEAD} Bearer")]);
}

#[tokio::test]
async fn a_wrong_login_gives_way_to_the_next_one_and_at_last_to_none() {
    for door in [BASIC, BEARER] {
        let registry = registry(door).await;
        let place = registry.place();
        let resolver = with_secrets(&[("old", &place, "ada", "wr0ng"), ("new", &place, "ada", "s3cret")]);
        assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    }
    let registry = registry(PUBLIC_BEARER).await;
    let resolver = with_secrets(&[("old", &registry.place(), "ada", "wr0ng")]);
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
}

#[tokio::test]
async fn the_controllers_file_comes_after_the_pull_secrets() {
    let registry = registry(BASIC).await;
    let path = std::env::temp_dir().join(format!("bascule-order-{}.json", std::process::id()));
    std::fs::write(&path, serde_json::json!({"auths": {registry.place(): {"auth": "YWRhOnMzY3JldA=="}}}).to_string()).unwrap();
    let mut resolver = with_secrets(&[("old", &registry.place(), "ada", "wr0ng")]);
    resolver.file = Some(CredentialFile::new(&path));
    assert_eq!(resolver.describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));
    assert_eq!(registry.log(), [HEAD.to_owned(), format!("{HEAD} Basic"), format!("{HEAD} Basic")]);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_denial_says_what_was_tried_and_shows_no_value() {
    for door in [BASIC, BEARER] {
        let registry = registry(door).await;
        let place = registry.place();
        let resolver = with_secrets(&[("regcred", &place, "ada", "wr0ng"), ("elsewhere", "ghcr.io", "ada", "wr0ng")]);
        let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err();
        assert_eq!((error.category(), error.is_transient()), ("Denied", false));
        assert_eq!(
            error.to_string(),
            format!("reading {place}/shop/web is denied with pull secret \"regcred\" and without credentials")
        );
        let all = format!("{error:?} {resolver:?}");
        assert!(!all.contains("wr0ng") && !all.contains("ada"), "{all}");
    }
}

#[tokio::test]
async fn a_denial_without_any_credentials_says_that_none_are_known() {
    let registry = registry(BASIC).await;
    let error = openly().describe(&question(&registry, "v1")).await.unwrap_err();
    let place = registry.place();
    assert_eq!(
        error.to_string(),
        format!("reading {place}/shop/web is denied without credentials, and no credentials for it are known")
    );
}

#[tokio::test]
async fn a_bare_403_is_a_denial_and_nothing_is_shown_to_it() {
    let registry = registry(Door::Shut).await;
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err();
    let place = registry.place();
    assert_eq!(
        error.to_string(),
        format!("reading {place}/shop/web is denied without credentials; the registry offers no way to log in")
    );
    assert_eq!(registry.log(), [HEAD]);
}

#[tokio::test]
async fn a_pull_secret_that_is_missing_or_broken_is_named_in_the_denial() {
    let registry = registry(BASIC).await;
    let broken = PullSecretConfig { name: "broken".into(), format: ConfigFormat::Config, bytes: Hidden::new(b"{".to_vec()) };
    let found = PullSecretsFound { configs: vec![broken], remarks: vec!["pull secret \"gone\" does not exist".into()] };
    let resolver = Resolver::new(client(), None, Some(Arc::new(Secrets(Mutex::new(Ok(found))))));
    let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err().to_string();
    assert!(
        error.contains("; pull secret \"gone\" does not exist; pull secret \"broken\" is not the JSON of a docker configuration"),
        "{error}"
    );
}

#[tokio::test]
async fn an_api_server_that_does_not_show_the_pull_secrets_is_not_taken_for_there_being_none() {
    let registry = registry(PUBLIC_BEARER).await;
    let unread = PullSecretsUnread { namespace: "shop".into(), why: "the API server does not answer".into() };
    let resolver = Resolver::new(client(), None, Some(Arc::new(Secrets(Mutex::new(Err(unread))))));
    let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!(
        error,
        LookupError::unreachable(
            "the pull secrets of namespace \"shop\" could not be read: the API server does not answer".into()
        )
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn only_a_refusal_leads_to_the_next_login() {
    let registry = registry(BASIC).await;
    let place = registry.place();
    let resolver = with_secrets(&[("one", &place, "ada", "s3cret"), ("two", &place, "ada", "s3cret")]);
    let error = resolver.describe(&question(&registry, "v9")).await.unwrap_err();
    assert_eq!(error.category(), "NotFound");
    assert_eq!(registry.log().len(), 2);
}

#[tokio::test]
async fn too_many_requests_carry_the_pause_that_was_asked_for() {
    let registry = registry(Door::Open).await;
    registry.answer_next_with(429, &[("retry-after", "30".into())]);
    let error = openly().describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!((error.category(), error.is_transient()), ("Throttled", true));
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(30)));
}

#[tokio::test]
async fn a_failing_registry_is_unreachable_and_a_strange_one_malformed() {
    let registry = registry(Door::Open).await;
    let place = registry.place();
    registry.answer_next_with(503, &[]);
    let error = openly().describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!(error, LookupError::unreachable(format!("{place} answered 503 Service Unavailable")));
    registry.answer_next_with(418, &[]);
    let error = openly().describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!(error, LookupError::malformed(&place, "418 I'm a teapot"));
}

#[tokio::test]
async fn nobody_at_home_is_said_without_the_address_of_the_attempt() {
    let registry = registry(Door::Open).await;
    let question = question(&registry, "v1");
    let place = registry.place();
    drop(registry);
    // The server's task is gone when its port refuses.
    while tokio::net::TcpStream::connect(&place).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let error = openly().describe(&question).await.unwrap_err();
    assert_eq!(error, LookupError::unreachable(format!("{place} cannot be reached: Connection refused (os error 111)")));
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_host_and_nowhere_else() {
    let (registry, other) = (registry(Door::Open).await, registry(Door::Open).await);
    registry.answer_next_with(307, &[("location", "/v2/shop/web/manifests/v1?again".into())]);
    assert_eq!(openly().describe(&question(&registry, "v1")).await, Ok(digest_of("one").into()));

    registry.answer_next_with(307, &[("location", format!("http://{}/v2/shop/web/manifests/v1", other.place()))]);
    let error = openly().describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!(error, LookupError::malformed(&registry.place(), "it redirects to another place, which is not followed"));
    assert_eq!(other.log(), [""; 0]);
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_token_server_without_tls() {
    let registry = registry(BEARER).await;
    let resolver = with_secrets(&[("regcred", &registry.place(), "ada", "s3cret")]);
    for (realm, what) in [
        ("http://auth.example/token", "the address of its token server is not https"),
        ("file:///etc/passwd", "the address of its token server is not https"),
        ("token", "the address of its token server is none"),
    ] {
        registry.send_for_tokens_to(realm);
        let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err();
        assert_eq!(error, LookupError::malformed(&registry.place(), what));
    }
}

#[tokio::test]
async fn a_token_server_that_fails_is_not_taken_for_a_refusal() {
    let registry = registry(BEARER).await;
    let place = registry.place();
    let resolver = with_secrets(&[("regcred", &place, "ada", "s3cret")]);
    let tokens = FakeRegistry::start(Door::Open).await;
    registry.send_for_tokens_to(&format!("http://{}/token", tokens.place()));
    tokens.answer_next_with(500, &[]);
    let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!(error, LookupError::unreachable(format!("{} answered 500 Internal Server Error", tokens.place())));
    tokens.answer_next_with(200, &[]);
    let error = resolver.describe(&question(&registry, "v1")).await.unwrap_err();
    assert_eq!(error, LookupError::malformed(&tokens.place(), "it is not the JSON of a token"));
}
