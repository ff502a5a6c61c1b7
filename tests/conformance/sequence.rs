//! A sequence of requests as data, in words that hold on any server.
//!
//! In: JSON of one line, or the generator. Out: steps whose texts may contain symbols, which [`Words`] replaces when a step is performed:
//! `$run` (a token of this run, part of every name), `$ns`, `$user`, and what the reply to an earlier step said: `$uid(3)`, `$rv(3)`,
//! `$name(3)`; and `$old`, a version of which no custom resource knows any more. Never here: anything that knows which server it is.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sequence {
    pub(crate) name: String,
    /// Why it is kept; empty in those that were just generated.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) about: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Stays the same when other steps are taken out, so that symbols go on meaning the same reply.
    pub(crate) id: u32,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum What {
    Ask(Ask),
    Watch(Watch),
    Pages(Pages),
    /// Wait until the garbage collector has nothing to do, then look at everything that is left.
    Settle(Settle),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) query: BTreeMap<String, String>,
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// An object that the watch must show. It is created before the watch starts: when its event is read, so are all that came before.
    pub(crate) mark: Value,
}

/// A list, page by page, to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pages {
    pub(crate) list: Ask,
    /// Happens after the first page; the pages still show what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) between: Option<Ask>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settle {
    /// The collections to look at.
    pub(crate) paths: Vec<String>,
}

impl Sequence {
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the symbols stand for on one server at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    pub(crate) run: String,
    pub(crate) namespace: String,
    pub(crate) user: String,
    replies: BTreeMap<u32, Value>,
}

/// Stand for what an earlier step did not give: well-formed, the same on every server, and true of no object.
const NO_UID: &str = "00000000-0000-4000-8000-000000000000";
pub(crate) const NO_VERSION: &str = "1";
/// From before our kinds were defined.
const OLD_VERSION: &str = "2";
const NO_NAME: &str = "nothing";

impl Words {
    pub(crate) fn new(run: String, namespace: String, user: String) -> Self {
        Self { run, namespace, user, replies: BTreeMap::new() }
    }

    pub(crate) fn learn(&mut self, step: u32, reply: &Value) {
        self.replies.insert(step, reply.clone());
    }

    pub(crate) fn ask(&self, ask: &Ask) -> Ask {
        Ask {
            method: ask.method.clone(),
            path: self.text(&ask.path),
            query: self.query(&ask.query),
            content_type: ask.content_type.clone(),
            body: ask.body.as_ref().map(|body| self.value(body)),
        }
    }

    pub(crate) fn query(&self, query: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        query.iter().map(|(key, value)| (key.clone(), self.text(value))).collect()
    }

    pub(crate) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(key, value)| (self.text(key), self.value(value))).collect())
            }
            other => other.clone(),
        }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (word, after) = after.split_at(end);
            let step = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
            match (word, step) {
                ("run", _) => out.push_str(&self.run),
                ("ns", _) => out.push_str(&self.namespace),
                ("user", _) => out.push_str(&self.user),
                ("old", _) => out.push_str(OLD_VERSION),
                (word, Some((step, _))) => out.push_str(&self.learnt(word, step)),
                (word, None) => out.extend(["$", word]),
            }
            rest = match (word, step) {
                ("run" | "ns" | "user" | "old", _) | (_, None) => after,
                (_, Some((_, after))) => after,
            };
        }
        out.push_str(rest);
        out
    }

    fn learnt(&self, word: &str, step: &str) -> String {
        let (field, without) = match word {
            "uid" => ("uid", NO_UID),
            "rv" => ("resourceVersion", NO_VERSION),
            _ => ("name", NO_NAME),
        };
        let reply = step.parse().ok().and_then(|step: u32| self.replies.get(&step));
        let found = reply.and_then(|reply| reply["metadata"][field].as_str()).filter(|found| !found.is_empty());
        found.unwrap_or(without).to_owned()
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(out, "  {:>3}  {}", step.id, step.what)?;
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(ask) => ask.fmt(out),
            Self::Watch(watch) => {
                write!(out, "WATCH {}", short(&watch.path))?;
                write_query(&watch.query, out)
            }
            Self::Pages(pages) => {
                write!(out, "PAGES {}", pages.list)?;
                pages.between.as_ref().map_or(Ok(()), |between| write!(out, "  and after the first {between}"))
            }
            Self::Settle(settle) => {
                let paths: Vec<_> = settle.paths.iter().map(|path| short(path)).collect();
                write!(out, "SETTLE {}", paths.join(", "))
            }
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patch = match self.content_type.as_str() {
            "application/apply-patch+yaml" => " (apply)",
            "application/merge-patch+json" => " (merge)",
            "application/json-patch+json" => " (json)",
            _ => "",
        };
        write!(out, "{}{patch} {}", self.method, short(&self.path))?;
        write_query(&self.query, out)?;
        self.body.as_ref().map_or(Ok(()), |body| write!(out, "  {body}"))
    }
}

/// Without what is the same in every path.
fn short(path: &str) -> &str {
    path.split_once("/namespaces/$ns/").map_or(path, |(_, rest)| rest)
}

fn write_query(query: &BTreeMap<String, String>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (place, (key, value)) in query.iter().enumerate() {
        write!(out, "{}{key}={value}", if place == 0 { '?' } else { '&' })?;
    }
    Ok(())
}

#[test]
fn symbols_become_what_the_replies_said() {
    let mut words = Words::new("r7x".into(), "space".into(), "admin".into());
    words.learn(3, &serde_json::json!({"metadata": {"uid": "u", "resourceVersion": "12"}}));
    assert_eq!(words.text("/ns/$ns/$run-web/$rv(3)$uid(3)"), "/ns/space/r7x-web/12u");
    assert_eq!(words.text("$rv(9) costs 3$ $other"), "1 costs 3$ $other");
}
