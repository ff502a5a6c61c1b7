//! The rights in AWS that a configuration needs, and no more: a document for IAM.
//!
//! In: what an Environment reads, and what else is configured. Out: the JSON of a policy. Each action in it is there for one named thing:
//! without it that thing, and nothing else, does not work.

use serde_json::{Value, json};

/// What is to be allowed. Lists are ARNs or patterns of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// As in `arn:aws:ssm:us-east-1:123456789012:parameter/shop/staging/*`.
    pub parameters: Vec<String>,
    /// Status shall say who wrote them.
    pub authors: bool,
    /// Keys of `SecureString`s that are not AWS' own.
    pub keys: Vec<String>,
    /// As in `arn:aws:ecr:us-east-1:123456789012:repository/shop/*`.
    pub repositories: Vec<String>,
    /// As in `arn:aws:s3:::shop-staging`.
    pub buckets: Vec<String>,
    /// Of the controller's own identity only.
    pub queue: Option<String>,
    /// Roles of Environments; of the controller's own identity only.
    pub roles: Vec<String>,
}

/// An action, and what does not work without it.
pub const ACTIONS: [(&str, &str); 12] = [
    ("ssm:GetParameters", "parameters are not read: SourcesFresh is False with AccessDenied"),
    ("ssm:GetParameterHistory", "status does not say who wrote a parameter"),
    ("kms:Decrypt", "parameters of type SecureString with a key of your own are not read"),
    ("ecr:GetAuthorizationToken", "no image in ECR is found, but with a pull secret"),
    ("ecr:BatchGetImage", "no image in ECR is found, but with a pull secret"),
    (
        "ecr:GetDownloadUrlForLayer",
        "images in ECR do not tell what they are: no order by label, no commit, no check of the platform",
    ),
    ("s3:GetObject", "archives are not found"),
    ("s3:GetObjectVersion", "RollbackReady does not know whether the archive of an earlier version is still kept"),
    ("s3:ListBucket", "an archive that is not there looks like one that is denied"),
    ("sqs:ReceiveMessage", "events are not heard: parameters are still read every pollInterval"),
    ("sqs:DeleteMessage", "the same events are heard again and again, which does no harm but costs calls"),
    ("sts:AssumeRole", "nothing is read in Environments with a role"),
];

/// The policy, as IAM takes it.
pub fn document(needs: &Needs) -> Value {
    let below = |bucket: &String| format!("{bucket}/*");
    let token: Vec<String> = if needs.repositories.is_empty() { Vec::new() } else { vec!["*".into()] };
    let queue: Vec<String> = needs.queue.iter().cloned().collect();
    let mut reads = vec!["ssm:GetParameters"];
    reads.extend(needs.authors.then_some("ssm:GetParameterHistory"));
    let statements = [
        ("Parameters", reads, needs.parameters.clone()),
        ("SecureStrings", vec!["kms:Decrypt"], needs.keys.clone()),
        // IAM knows no resource for it.
        ("RegistryToken", vec!["ecr:GetAuthorizationToken"], token),
        ("Images", vec!["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], needs.repositories.clone()),
        ("Archives", vec!["s3:GetObject", "s3:GetObjectVersion"], needs.buckets.iter().map(below).collect()),
        ("ArchivesThatAreNotThere", vec!["s3:ListBucket"], needs.buckets.clone()),
        ("Events", vec!["sqs:ReceiveMessage", "sqs:DeleteMessage"], queue),
        ("Roles", vec!["sts:AssumeRole"], needs.roles.clone()),
    ];
    let statements: Vec<Value> = statements
        .into_iter()
        .filter(|(_, _, resources)| !resources.is_empty())
        .map(|(id, actions, resources)| json!({"Sid": id, "Effect": "Allow", "Action": actions, "Resource": resources}))
        .collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Needs {
        let one = |text: &str| vec![text.to_owned()];
        Needs {
            parameters: one("p"),
            authors: true,
            keys: one("k"),
            repositories: one("r"),
            buckets: one("b"),
            queue: Some("q".into()),
            roles: one("role"),
        }
    }

    fn actions(document: &Value) -> Vec<&str> {
        let statements = document["Statement"].as_array().unwrap();
        statements.iter().flat_map(|it| it["Action"].as_array().unwrap()).map(|it| it.as_str().unwrap()).collect()
    }

    #[test]
    fn each_action_is_there_for_a_named_thing() {
        let document = document(&everything());
        assert_eq!(actions(&document), ACTIONS.map(|(action, _)| action));
    }

    #[test]
    fn what_is_not_needed_is_not_allowed() {
        assert_eq!(document(&Needs::default())["Statement"], json!([]));
        let parameters = document(&Needs { parameters: vec!["p".into()], ..Needs::default() });
        assert_eq!(actions(&parameters), ["ssm:GetParameters"]);
        assert_eq!(parameters["Statement"][0]["Resource"], json!(["p"]));
    }
}
