//! Parameter Store itself: the words of AWS into ours.

use std::collections::{BTreeMap, BTreeSet};

use bascule_aws::{Aws, Fault, Found};
use bascule_core::{
    Parameter,
    sources::{ParameterName, Scope},
};
use futures::{FutureExt as _, future::BoxFuture};

use super::{Batch, ParameterStore, SourceError};

#[derive(Debug, Default)]
pub struct AwsStore {
    aws: Aws,
}

impl ParameterStore for AwsStore {
    fn read<'a>(&'a self, scope: &'a Scope, names: &'a [ParameterName]) -> BoxFuture<'a, Result<Batch, SourceError>> {
        let scope = bascule_aws::Scope {
            region: scope.region.clone(),
            role_arn: scope.role_arn.clone(),
            external_id: scope.external_id.clone(),
            endpoint: scope.endpoint.clone(),
        };
        async move {
            let texts = names.iter().map(|name| name.as_str().to_owned()).collect();
            let answer = self.aws.parameters(&scope, texts).await.map_err(|fault| match fault {
                Fault::Denied(why) => SourceError::Denied(why),
                Fault::Throttled(why) => SourceError::Throttled(why),
                Fault::Unreachable(why) => SourceError::Unreachable(why),
                Fault::Refused(why) => SourceError::Refused(why),
            })?;
            Ok(sorted(names, &answer.found, &answer.invalid))
        }
        .boxed()
    }
}

/// Who was asked for, found again in the answer: AWS gives it in any order, an ARN as a name, and the version apart.
fn sorted(names: &[ParameterName], found: &[Found], invalid: &[String]) -> Batch {
    let mut batch = Batch { found: BTreeMap::new(), missing: BTreeSet::new() };
    for name in names {
        let is_it =
            |it: &&Found| it.name == name.base() || it.arn == name.base() || it.name == name.as_str() || it.name == name.short();
        if let Some(it) = found.iter().find(is_it) {
            let parameter =
                Parameter { value: it.value.clone(), version: it.version, secure: it.secure, modified_at: it.modified_at };
            batch.found.insert(name.clone(), parameter);
        } else if invalid.iter().any(|text| text == name.as_str()) {
            batch.missing.insert(name.clone());
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ParameterName {
        ParameterName::parse(text).unwrap()
    }

    fn found(name: &str, value: &str) -> Found {
        Found {
            name: name.into(),
            arn: format!("arn:aws:ssm:us-east-1:123456789012:parameter{name}"),
            value: value.into(),
            version: 3,
            secure: false,
            modified_at: None,
        }
    }

    #[test]
    fn answers_are_matched_by_name_and_what_is_in_neither_list_is_unknown() {
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/b";
        let names = [name("/a:live"), name(arn), name("/c"), name("/gone:7")];
        let batch = sorted(&names, &[found("/b", "b"), found("/a", "a")], &["/gone:7".into()]);
        assert_eq!((batch.found[&names[0]].value.as_str(), batch.found[&names[1]].value.as_str()), ("a", "b"));
        assert_eq!(batch.missing, BTreeSet::from([names[3].clone()]));
        assert!(!batch.found.contains_key(&names[2]));
    }
}
