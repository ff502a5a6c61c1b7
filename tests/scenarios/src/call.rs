//! One request to the API server, as data: what every stage can send.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: &'static str,
    /// `/apis/apps/v1/namespaces/shop/deployments/web-blue/status`
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Empty where there is no body.
    pub content_type: &'static str,
    pub body: Option<Value>,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

impl Call {
    /// Path and query, as they stand in an HTTP request.
    pub fn target(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    pub(crate) fn new(method: &'static str, path: String) -> Self {
        Self { method, path, query: BTreeMap::new(), content_type: "", body: None }
    }

    pub(crate) fn with(mut self, content_type: &'static str, body: Value) -> Self {
        self.content_type = content_type;
        self.body = Some(body);
        self
    }

    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        self.query.insert(key.to_owned(), value.to_owned());
        self
    }
}
