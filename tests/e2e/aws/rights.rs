//! The policy for IAM that `bascule-controller aws-policy` prints for an Environment, against an emulator that enforces it: with all of it
//! everything works, and without one of its actions one named thing does not.
//!
//! Not shown here: kms:Decrypt, s3:ListBucket and s3:GetObjectVersion, which the emulator does not enforce; sts:AssumeRole, which whoever asks here has
//! anyway; single parameters (it takes `*`); and what a registry itself asks of IAM when an image is pulled (the API is asked the same instead).

use std::collections::BTreeMap;

use bascule_aws::{
    Aws, Scope,
    policy::{ACTIONS, Needs, document},
};
use bascule_controller::policy::{Configuration, needs};
use bascule_crds::Environment;
use bascule_tests::aws::Emulator;
use serde_json::{Value, json};

const ACCOUNT: &str = "000000000000";
const NOT_ENFORCED: [&str; 4] = ["kms:Decrypt", "s3:ListBucket", "s3:GetObjectVersion", "sts:AssumeRole"];

struct Rights {
    emulator: Emulator,
    url: String,
    name: String,
    queue: String,
}

impl Rights {
    /// A role that may do this, and no more.
    async fn role(&self, suffix: &str, policy: &Value) -> Scope {
        let role = format!("{}-{suffix}", self.name);
        let trust = json!({"Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]});
        let create = ["iam", "create-role", "--role-name", &role, "--assume-role-policy-document", &trust.to_string()];
        self.emulator.cli(&create).await;
        let put = ["iam", "put-role-policy", "--role-name", &role, "--policy-name", "bascule", "--policy-document"];
        // AWS asks for sqs:DeleteMessage also when several are deleted; the emulator has a name of its own for that.
        let policy = policy.to_string().replace("sqs:DeleteMessage", "sqs:DeleteMessageBatch");
        self.emulator.cli(&[&put[..], &[&policy]].concat()).await;
        Scope {
            region: Some("us-east-1".into()),
            role_arn: Some(format!("arn:aws:iam::{ACCOUNT}:role/{role}")),
            external_id: None,
            endpoint: Some(self.url.clone()),
        }
    }

    /// What works, by action.
    async fn works(&self, scope: &Scope) -> BTreeMap<&'static str, bool> {
        let aws = Aws::default();
        let name = format!("/{}/image", self.name);
        let mut works = BTreeMap::new();
        let found = aws.parameters(scope, vec![name.clone()]).await;
        works.insert("ssm:GetParameters", found.is_ok_and(|answer| answer.found.len() == 1));
        works.insert("ssm:GetParameterHistory", aws.author(scope, &name, 1).await.is_ok_and(|author| author.is_some()));
        works.insert("ecr:GetAuthorizationToken", aws.registry_login(scope, "us-east-1").await.is_ok());
        works.insert("s3:GetObject", aws.object(scope, &self.name, "a.zip").await.is_ok_and(|found| found.is_some()));
        // So that nobody listens to an empty queue for long.
        self.emulator.cli(&["sqs", "send-message", "--queue-url", &self.queue, "--message-body", "x"]).await;
        works.insert("sqs:ReceiveMessage", aws.receive(scope, &self.queue).await.is_ok());
        works.insert("sqs:DeleteMessage", aws.delete(scope, &self.queue, &["x".to_owned()]).await.is_ok());
        // The registry asks IAM for these two when somebody pulls; here the API is asked for the same.
        let credentials = self.credentials(scope).await;
        let image = ["ecr", "batch-get-image", "--repository-name", &self.name, "--image-ids", "imageTag=v1"];
        works.insert("ecr:BatchGetImage", self.emulator.may(&credentials, &image).await);
        let layer = format!("sha256:{}", "0".repeat(64));
        let layer = ["ecr", "get-download-url-for-layer", "--repository-name", &self.name, "--layer-digest", &layer];
        works.insert("ecr:GetDownloadUrlForLayer", self.emulator.may(&credentials, &layer).await);
        works
    }

    async fn credentials(&self, scope: &Scope) -> Vec<(String, String)> {
        let role = scope.role_arn.as_deref().unwrap();
        let answer = self.emulator.cli(&["sts", "assume-role", "--role-arn", role, "--role-session-name", "bascule"]).await;
        let part = |name: &str, key: &str| (name.to_owned(), answer["Credentials"][key].as_str().unwrap().to_owned());
        vec![
            part("AWS_ACCESS_KEY_ID", "AccessKeyId"),
            part("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
            part("AWS_SESSION_TOKEN", "SessionToken"),
        ]
    }
}

/// Without one of its actions.
fn without(policy: &Value, action: &str) -> Value {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        statement["Action"].as_array_mut().unwrap().retain(|it| it != action);
    }
    policy["Statement"].as_array_mut().unwrap().retain(|statement| statement["Action"] != json!([]));
    policy
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_policy_everything_works_and_each_action_is_there_for_one_thing() {
    let url = std::env::var("BASCULE_AWS_STRICT").unwrap();
    let emulator = Emulator::at(&url);
    let name = format!("rights-{}", std::process::id());
    let queue = emulator.cli(&["sqs", "create-queue", "--queue-name", &name]).await["QueueUrl"].as_str().unwrap().to_owned();
    let rights = Rights { emulator, url, name, queue };
    let (name, emulator) = (&rights.name, &rights.emulator);
    emulator
        .cli(&["ssm", "put-parameter", "--name", &format!("/{name}/image"), "--type", "String", "--value", "shop/web:v1"])
        .await;
    emulator.cli(&["s3api", "create-bucket", "--bucket", name]).await;
    emulator.cli(&["s3api", "put-object", "--bucket", name, "--key", "a.zip"]).await;
    emulator.cli(&["ecr", "create-repository", "--repository-name", name]).await;
    let environment = |name: &str, registry: &str| -> Environment {
        let own = json!({"aws": {"region": "us-east-1"}, "registry": registry, "allow": {"parameters": [format!("/{name}/**")],
            "images": [format!("{registry}/{name}")], "buckets": [name]}});
        let object =
            json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name}, "spec": own});
        serde_json::from_value(object).unwrap()
    };
    let configuration = Configuration {
        account: Some(ACCOUNT.into()),
        queue: Some(format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}")),
        ..Configuration::default()
    };
    let registry = format!("{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com");
    let (mut needs, remarks) = needs(&[environment(name, &registry)], &configuration).unwrap();
    assert_eq!(
        (needs.parameters.clone(), remarks.len()),
        (vec![format!("arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/{name}/*")], 0)
    );
    // This emulator asks for all parameters at once; AWS asks for each.
    needs.parameters = vec!["*".into()];
    let whole = document(&needs);
    let everything = rights.works(&rights.role("all", &whole).await).await;
    assert!(everything.values().all(|works| *works), "{everything:?}");
    for (action, means) in ACTIONS.iter().filter(|(action, _)| !NOT_ENFORCED.contains(action)) {
        let scope = rights.role(&action.replace(':', "-"), &without(&whole, action)).await;
        let works = rights.works(&scope).await;
        let broken: Vec<_> = works.iter().filter(|(_, works)| !**works).map(|(action, _)| *action).collect();
        println!("without {action}: {means}");
        assert_eq!(broken, [*action]);
    }
    let nothing =
        rights.works(&rights.role("none", &document(&Needs { keys: vec!["*".into()], ..Needs::default() })).await).await;
    assert!(nothing.values().all(|works| !*works), "{nothing:?}");
}
