//! From Environments to the rights in AWS that they need: what `bascule-controller aws-policy` prints.
//!
//! In: Environments as `kubectl get -o json` shows them. Out: needs, and what could not be told from them. Never here: AWS.

use bascule_aws::policy::Needs;
use bascule_crds::{Environment, EnvironmentSpec};
use kube::ResourceExt as _;
use serde_json::Value;

/// For whom the rights are.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// The role of this Environment; None: the controller itself.
    pub environment: Option<String>,
    pub account: Option<String>,
    pub region: Option<String>,
    /// ARN of the queue of events.
    pub queue: Option<String>,
    /// ARNs of keys of your own.
    pub keys: Vec<String>,
    /// Without who wrote a parameter.
    pub without_authors: bool,
}

/// One Environment, or a list of them.
pub fn read(text: &str) -> Result<Vec<Environment>, String> {
    let wrong = |why: String| format!("this is not what kubectl get environments -o json prints: {why}");
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let items = match value.get("items") {
        Some(Value::Array(items)) => items.clone(),
        _ => vec![value],
    };
    items.into_iter().map(|item| serde_json::from_value(item).map_err(|error| wrong(error.to_string()))).collect()
}

/// What is needed, and remarks for whoever asked.
pub fn needs(environments: &[Environment], wanted: &Configuration) -> Result<(Needs, Vec<String>), String> {
    let mut needs = Needs { authors: !wanted.without_authors, keys: wanted.keys.clone(), ..Needs::default() };
    let mut remarks = Vec::new();
    let role = |environment: &Environment| environment.spec.aws.role_arn.clone();
    let meant: Vec<_> = if let Some(name) = &wanted.environment {
        let found = environments.iter().find(|environment| environment.name_any() == *name);
        vec![found.ok_or_else(|| format!("there is no Environment {name} in what was read"))?]
    } else {
        // What has a role of its own is read with that.
        needs.queue.clone_from(&wanted.queue);
        needs.roles = environments.iter().filter_map(role).collect();
        environments.iter().filter(|environment| role(environment).is_none()).collect()
    };
    for environment in meant {
        add(&mut needs, &mut remarks, environment, wanted)?;
    }
    for list in [&mut needs.parameters, &mut needs.repositories, &mut needs.buckets, &mut needs.roles] {
        list.sort();
        list.dedup();
    }
    Ok((needs, remarks))
}

fn add(needs: &mut Needs, remarks: &mut Vec<String>, environment: &Environment, wanted: &Configuration) -> Result<(), String> {
    let (name, spec) = (environment.name_any(), &environment.spec);
    let (account, region) = place(spec, wanted);
    let account = account.ok_or_else(|| format!("Environment {name}: nothing tells its account; say --account"))?;
    let region = region.ok_or_else(|| format!("Environment {name}: nothing tells its region; say --region"))?;
    let partition = partition(&region);
    let parameter = |pattern: &String| {
        let short = simple(pattern);
        let slash = if short.starts_with('/') { "" } else { "/" };
        if short.starts_with("arn:") { short } else { format!("arn:{partition}:ssm:{region}:{account}:parameter{slash}{short}") }
    };
    if let Some(patterns) = &spec.allow.parameters {
        needs.parameters.extend(patterns.iter().map(parameter));
    } else {
        remarks.push(format!("Environment {name} allows every parameter: spec.allow.parameters would narrow it"));
        needs.parameters.push(parameter(&"*".to_owned()));
    }
    let images =
        spec.allow.images.clone().unwrap_or_else(|| spec.registry.iter().map(|registry| format!("{registry}/**")).collect());
    let before = needs.repositories.len();
    needs.repositories.extend(images.iter().filter_map(|pattern| repository(pattern)));
    let open = images.iter().any(|pattern| pattern.split('/').next().is_some_and(|registry| registry.starts_with('*')));
    if needs.repositories.len() == before || open {
        remarks.push(format!(
            "Environment {name} names no registry of ECR in spec.registry or spec.allow.images, or more than that: for those it does not name \
             no right to read images is in the policy"
        ));
    }
    if let Some(patterns) = &spec.allow.buckets {
        needs.buckets.extend(patterns.iter().map(|pattern| format!("arn:{partition}:s3:::{}", simple(pattern))));
    } else {
        remarks.push(format!("Environment {name} names no buckets in spec.allow.buckets, so none is in the policy"));
    }
    Ok(())
}

/// Account and region.
fn place(spec: &EnvironmentSpec, wanted: &Configuration) -> (Option<String>, Option<String>) {
    let of_role = spec.aws.role_arn.as_ref().and_then(|arn| arn.split(':').nth(4).map(str::to_owned));
    (of_role.or_else(|| wanted.account.clone()), spec.aws.region.clone().or_else(|| wanted.region.clone()))
}

/// IAM's star stands for anything, slashes too: it is a little wider than ours.
fn simple(pattern: &str) -> String {
    pattern.replace("**", "*")
}

/// Of a pattern of images that are in ECR.
fn repository(pattern: &str) -> Option<String> {
    let (registry, repository) = pattern.split_once('/')?;
    let (account, rest) = registry.split_once(".dkr.ecr")?;
    let region = rest.trim_start_matches("-fips").trim_start_matches('.').split(".amazonaws").next().unwrap_or("*");
    let region = if region.is_empty() { "*" } else { region };
    Some(format!("arn:{}:ecr:{region}:{account}:repository/{}", partition(region), simple(repository)))
}

/// The part of AWS that a region belongs to.
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environments() -> Vec<Environment> {
        let object = |name: &str, spec: &Value| json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name}, "spec": spec});
        let staging = json!({
            "aws": {"region": "us-east-1", "roleArn": "arn:aws:iam::123456789012:role/bascule-staging"},
            "allow": {"parameters": ["/shop/staging/**"], "images": ["123456789012.dkr.ecr.*/shop/**", "ghcr.io/shop/**"],
                      "buckets": ["shop-staging-*"]},
        });
        let own = json!({"registry": "210987654321.dkr.ecr.eu-west-1.amazonaws.com", "aws": {"region": "eu-west-1"}});
        let list = json!({"kind": "List", "items": [object("staging", &staging), object("own", &own)]});
        read(&list.to_string()).unwrap()
    }

    #[test]
    fn a_role_gets_what_its_environment_allows() {
        let wanted = Configuration { environment: Some("staging".into()), queue: Some("q".into()), ..Configuration::default() };
        let (needs, remarks) = needs(&environments(), &wanted).unwrap();
        assert_eq!(needs.parameters, ["arn:aws:ssm:us-east-1:123456789012:parameter/shop/staging/*"]);
        assert_eq!(needs.repositories, ["arn:aws:ecr:*:123456789012:repository/shop/*"]);
        assert_eq!(needs.buckets, ["arn:aws:s3:::shop-staging-*"]);
        assert_eq!((needs.queue, needs.roles.len(), remarks.len()), (None, 0, 0));
    }

    #[test]
    fn the_controller_gets_its_roles_its_queue_and_what_has_no_role() {
        let wanted = Configuration { account: Some("210987654321".into()), queue: Some("q".into()), ..Configuration::default() };
        let (needs, remarks) = needs(&environments(), &wanted).unwrap();
        assert_eq!(needs.roles, ["arn:aws:iam::123456789012:role/bascule-staging"]);
        assert_eq!(needs.parameters, ["arn:aws:ssm:eu-west-1:210987654321:parameter/*"]);
        assert_eq!(needs.repositories, ["arn:aws:ecr:eu-west-1:210987654321:repository/*"]);
        assert_eq!((needs.queue.as_deref(), remarks.len()), (Some("q"), 2));
        let government = json!({"apiVersion": "bascule.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "gov"},
            "spec": {"aws": {"region": "us-gov-west-1"}, "allow": {"parameters": ["/a"], "images": ["**"], "buckets": ["b"]}}});
        let (needs, remarks) = super::needs(&read(&government.to_string()).unwrap(), &wanted).unwrap();
        assert_eq!(needs.parameters, ["arn:aws-us-gov:ssm:us-gov-west-1:210987654321:parameter/a"]);
        assert_eq!((needs.buckets.len(), needs.repositories.len(), remarks.len()), (1, 0, 1));
    }

    #[test]
    fn what_cannot_be_told_is_asked_for() {
        let error = needs(&environments(), &Configuration::default()).unwrap_err();
        assert_eq!(error, "Environment own: nothing tells its account; say --account");
        let wanted = Configuration { environment: Some("x".into()), ..Configuration::default() };
        assert!(needs(&environments(), &wanted).unwrap_err().contains("there is no Environment x"));
        assert!(read("{").is_err() && read("[]").is_err());
    }
}
