//! Judges: they see every request and every commit at the server, never what the controller thinks.

use jiff::SignedDuration;

use crate::api::{Api, Change, Reply, Request};

#[derive(Debug, Default)]
pub struct Oracle {
    pub violations: Vec<String>,
}

impl Oracle {
    pub fn asked(&mut self, _request: &Request, _reply: &Reply, _api: &Api, _at: SignedDuration) {}

    pub fn committed(&mut self, _change: &Change, _api: &Api, _at: SignedDuration) {}
}
