//! Images as the workers ask for them: in the words of a Release, on behalf of its pods.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use super::{Access, Answer, Described, Fetch, ImageRequest, Images, LookupError, Question};
#[cfg(test)]
use crate::sources::lookup::Counts;
use crate::sources::lookup::{self, Lookups, Wiring};

/// The digests of tags, for as long as somebody asks for them.
pub struct RegistryHub<K> {
    lookups: Lookups<K, Images>,
    reads_pull_secrets: bool,
}

/// One who answers for the registries.
pub(crate) struct Answering(pub(crate) Arc<dyn Fetch>);

impl lookup::Fetch<Images> for Answering {
    fn fetch<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>> {
        self.0.describe(question)
    }
}

impl<K: Clone + Ord + Send + 'static> RegistryHub<K> {
    /// To be called inside the runtime on which the lookups shall run.
    pub fn new(wiring: Wiring<K, Images>, reads_pull_secrets: bool) -> Self {
        Self { lookups: Lookups::new(wiring), reads_pull_secrets }
    }

    /// What is known about these images, in their order. From now on they are all that `key` wants to know: what it asked
    /// for before and does not repeat is let go.
    pub fn ask(&self, key: &K, requests: &[ImageRequest]) -> Vec<Answer> {
        let questions: Vec<Option<Question>> = requests.iter().map(|request| self.question(request)).collect();
        let asked: Vec<_> = questions.iter().flatten().cloned().collect();
        let mut answers = self.lookups.ask(key, &asked).into_iter();
        let answer = |(request, question): (&ImageRequest, &Option<Question>)| match question {
            Some(_) => answers.next().unwrap_or(Answer::Pending),
            None => request.reference.digest().map_or(Answer::Pending, |digest| Answer::Found(digest.clone().into())),
        };
        requests.iter().zip(&questions).map(answer).collect()
    }

    /// `key` is gone; what only it asked for is dropped, running lookups included.
    pub fn forget(&self, key: &K) {
        self.lookups.forget(key);
    }

    /// A tag was pushed or deleted there; None: any.
    pub fn hint(&self, repository: &str, tag: Option<&str>) {
        self.lookups.hint(|question| question.repository == repository && tag.is_none_or(|tag| question.tag == tag));
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> Counts {
        self.lookups.counts()
    }

    fn question(&self, request: &ImageRequest) -> Option<Question> {
        let mut question = Question::of(request)?;
        if !self.reads_pull_secrets {
            question.access = Access::Controller;
        }
        Some(question)
    }
}

impl<K> fmt::Debug for RegistryHub<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryHub").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
