//! All stories, compiled in, so that a program that plays them needs no files.
//!
//! In: `stories/*.yaml`, each a number of YAML documents. Out: scenarios.

use anyhow::{Context as _, ensure};
use serde::Deserialize as _;

use crate::Scenario;

macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../stories/", $name, ".yaml")))),*] };
}

/// A test proves that none of the folder is missing here.
const FILES: &[(&str, &str)] = files![
    "basics",
    "gates",
    "hooks",
    "rollback",
    "rejected",
    "operations",
    "supersede",
    "scale",
    "workloads",
    "services",
    "sources",
    "previews",
    "restarts",
    "deleted",
];

/// Every story, file by file.
pub fn stories() -> anyhow::Result<Vec<Scenario>> {
    let mut all: Vec<Scenario> = Vec::new();
    for (file, text) in FILES {
        all.extend(parse(text).with_context(|| format!("stories/{file}.yaml"))?);
    }
    for (number, story) in all.iter().enumerate() {
        let twice = all[..number].iter().any(|other| other.name == story.name);
        ensure!(!twice, "two stories are called {}", story.name);
    }
    Ok(all)
}

/// The story of that name.
pub fn story(name: &str) -> anyhow::Result<Scenario> {
    stories()?.into_iter().find(|story| story.name == name).with_context(|| format!("there is no story {name}"))
}

/// The scenarios in a text of YAML documents.
pub fn parse(text: &str) -> anyhow::Result<Vec<Scenario>> {
    let mut stories = Vec::new();
    for (number, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        // By way of JSON: in YAML the variants of an enum would have to be tags.
        let value = serde_json::Value::deserialize(document).with_context(|| format!("document {}", number + 1))?;
        let name = value["name"].as_str().unwrap_or("without a name").to_owned();
        stories.push(serde_json::from_value(value).with_context(|| format!("story {} ({name})", number + 1))?);
    }
    Ok(stories)
}
