//! What is counted where others are asked: the API server and AWS. Made before the controller is, because its clients are.

use prometheus::{Error, IntCounterVec, Opts, Registry};

/// Counts requests. Clones count together.
#[derive(Clone, Debug)]
pub struct Meters {
    requests: IntCounterVec,
    aws: IntCounterVec,
}

impl Meters {
    pub fn new() -> Result<Self, Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        Ok(Self {
            requests: counters("bascule_api_requests_total", "Requests to the API server", &["verb", "code"])?,
            aws: counters("bascule_aws_calls_total", "Calls of AWS", &["service", "operation", "outcome"])?,
        })
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), Error> {
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.aws.clone()))
    }

    pub(crate) fn requested(&self, verb: &str, code: &str) {
        self.requests.with_label_values(&[verb, code]).inc();
    }

    #[cfg(feature = "aws")]
    pub(crate) fn called(&self, service: &str, operation: &str, outcome: &str) {
        self.aws.with_label_values(&[service, operation, outcome]).inc();
    }
}
