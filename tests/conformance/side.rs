//! What performs a sequence: one of two servers. And the performing itself, which is the same for both.
//!
//! In: a sequence. Out: what the server answered to each step, raw. Never here: judging; that is for `compare.rs`.

use serde_json::{Value, json};

use crate::sequence::{Ask, NO_VERSION, Sequence, Watch, What, Words};

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

/// A server. Everything that reaches it is free of symbols.
pub(crate) trait Side {
    /// A token that no other run on this server has had, a namespace, and the name of the user.
    fn words(&mut self) -> Words;
    async fn call(&mut self, ask: &Ask) -> Answer;
    /// The events after `watch.query["resourceVersion"]` up to the one of the mark, which is left out.
    async fn watch(&mut self, watch: &Watch) -> Answer;
    /// Until the garbage collector has done its work. `like` agrees when what it gets is what is expected, if anything is.
    async fn settle(&mut self, asks: &[Ask], words: &Words, like: &mut dyn FnMut(&Words, &Value) -> bool) -> Answer;
}

/// The answers to one sequence, and what the symbols stood for.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) words: Words,
    pub(crate) answers: Vec<Answer>,
}

/// Agrees with whatever has settled; for the server that goes first.
pub(crate) fn anything(_: usize, _: &Words, _: &Value) -> bool {
    true
}

/// Performs it. `like(step, …)` says whether a settled state is the expected one: only time tells "not yet" from "never".
pub(crate) async fn perform(
    side: &mut impl Side,
    sequence: &Sequence,
    mut like: impl FnMut(usize, &Words, &Value) -> bool,
) -> Record {
    let mut words = side.words();
    let mut answers = Vec::new();
    for (place, step) in sequence.steps.iter().enumerate() {
        let answer = match &step.what {
            What::Ask(ask) => side.call(&words.ask(ask)).await,
            What::Pages(pages) => {
                let between = pages.between.as_ref().map(|ask| words.ask(ask));
                all_pages(side, &words.ask(&pages.list), between.as_ref()).await
            }
            What::Watch(watch) => {
                let watch =
                    Watch { path: words.text(&watch.path), query: words.query(&watch.query), mark: words.value(&watch.mark) };
                watch_to_mark(side, &watch).await
            }
            What::Settle(settle) => {
                let label = words.text("run=$run");
                let list = |path: &String| Ask {
                    method: "GET".into(),
                    path: words.text(path),
                    query: [("labelSelector".to_owned(), label.clone())].into(),
                    ..Ask::default()
                };
                let asks: Vec<_> = settle.paths.iter().map(list).collect();
                side.settle(&asks, &words, &mut |words, state| like(place, words, state)).await
            }
        };
        words.learn(step.id, &answer.body);
        answers.push(answer);
    }
    Record { words, answers }
}

/// The mark is made before the watch starts and taken away after it: whoever has read its event has read everything before it.
async fn watch_to_mark(side: &mut impl Side, watch: &Watch) -> Answer {
    // An earlier reply had no version: nothing to start from.
    if watch.query.get("resourceVersion").is_none_or(|version| version == NO_VERSION) {
        return Answer { code: 0, body: json!({}) };
    }
    let name = watch.mark["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let query = [("fieldManager".to_owned(), "mark".to_owned())];
    let made = side
        .call(&Ask {
            method: "POST".into(),
            path: watch.path.clone(),
            query: query.into(),
            content_type: "application/json".into(),
            body: Some(watch.mark.clone()),
        })
        .await;
    if made.code != 201 {
        return Answer { code: made.code, body: json!({"kind": "MarkRefused", "answer": made.body}) };
    }
    let answer = side.watch(watch).await;
    side.call(&Ask { method: "DELETE".into(), path: format!("{}/{name}", watch.path), ..Ask::default() }).await;
    answer
}

/// More would mean that a server turns in circles.
const MOST_PAGES: usize = 2000;

/// All pages of a list as one; between the first and the second something else happens. A page may be empty and not be the last.
async fn all_pages(side: &mut impl Side, list: &Ask, between: Option<&Ask>) -> Answer {
    let mut ask = list.clone();
    let mut answer = side.call(&ask).await;
    let mut between = between;
    let mut items = Vec::new();
    let mut next = answer.body["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    for _ in 0..MOST_PAGES {
        items.extend(answer.body["items"].as_array().cloned().unwrap_or_default());
        // Also when there is one page only: whether there is another may hang on what other sequences have made.
        if let Some(between) = between.take() {
            side.call(between).await;
        }
        if next.is_empty() || answer.code != 200 {
            break;
        }
        ask.query.insert("continue".into(), next.clone());
        let page = side.call(&ask).await;
        page.body["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut next);
        answer = page;
    }
    if answer.code == 200 {
        answer.body["items"] = json!(items);
    }
    answer
}

/// Everything that is there, of all the collections.
pub(crate) async fn look(side: &mut impl Side, asks: &[Ask]) -> Value {
    let mut all = Vec::new();
    for ask in asks {
        let answer = side.call(ask).await;
        let kind = answer.body["kind"].as_str().and_then(|kind| kind.strip_suffix("List"));
        for mut item in answer.body["items"].as_array().cloned().unwrap_or_default() {
            item["kind"] = json!(kind);
            all.push(item);
        }
    }
    json!({"kind": "Settled", "items": all})
}
