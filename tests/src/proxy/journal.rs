//! What passed the proxy: which class a request is of, its number in it, and what was answered.
//!
//! In: method, path and query of each request. Out: the fault that is due, and the list for a test to look at. Never here: I/O.

use std::{collections::BTreeMap, fmt};

use http::{Method, Uri};

use super::fault::{Class, Fault, What};

/// The page size of the controller's watches; nothing else of it lists that much.
const PAGE_OF_WATCHES: &str = "limit=500";

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub class: Class,
    /// Its number in its class.
    pub number: u64,
    /// Its number among the writes of Services, if it is one.
    pub service: Option<u64>,
    pub method: String,
    /// Below the namespace: `services/web`.
    pub path: String,
    pub dry_run: bool,
    pub fault: Option<What>,
    /// None: nobody was asked, or there was no answer.
    pub code: Option<u16>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry = if self.dry_run { " (dry run)" } else { "" };
        let code = self.code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        write!(f, "{:?} {:>3}  {:<6} {}{dry} -> {code}", self.class, self.number, self.method, self.path)?;
        self.fault.map_or(Ok(()), |what| write!(f, "   {what:?}"))
    }
}

/// What is known of a request when it comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    /// In the list.
    pub(super) place: usize,
    pub(super) class: Class,
    /// What is to go wrong with it.
    pub(super) fault: Option<What>,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    faults: Vec<Fault>,
    counts: BTreeMap<Class, u64>,
    pub(super) entries: Vec<Entry>,
}

impl Journal {
    /// Counting begins anew.
    pub(super) fn arm(&mut self, faults: Vec<Fault>) {
        *self = Self { faults, counts: BTreeMap::new(), entries: Vec::new() };
    }

    /// Enters a request.
    pub(super) fn enter(&mut self, method: &Method, uri: &Uri) -> Entered {
        let class = class(method, uri);
        let number = self.count(class);
        let service = (class == Class::Request && writes_service(method, uri.path())).then(|| self.count(Class::Service));
        let is_due = |fault: &&Fault| match fault.of {
            Class::Service => service == Some(fault.at),
            of => (of, fault.at) == (class, number),
        };
        let fault = self.faults.iter().find(is_due).map(|fault| fault.what);
        self.entries.push(Entry {
            class,
            number,
            service,
            method: method.to_string(),
            path: below_namespace(uri.path()).to_owned(),
            dry_run: has(uri, "dryRun=All"),
            fault,
            code: None,
        });
        Entered { place: self.entries.len() - 1, class, fault }
    }

    pub(super) fn answered(&mut self, place: usize, code: u16) {
        // Armed anew in between: then the place is of another time.
        if let Some(entry) = self.entries.get_mut(place) {
            entry.code = Some(code);
        }
    }

    fn count(&mut self, class: Class) -> u64 {
        let count = self.counts.entry(class).or_default();
        *count += 1;
        *count
    }
}

fn class(method: &Method, uri: &Uri) -> Class {
    if has(uri, "watch=true") || has(uri, "watch=1") {
        Class::Watch
    } else if method == Method::POST && uri.path().ends_with("/events") {
        Class::Event
    } else if uri.path().starts_with("/apis/coordination.k8s.io/") {
        Class::Lease
    } else if method == Method::GET && (has(uri, PAGE_OF_WATCHES) || uri.query().is_some_and(|query| query.contains("continue=")))
    {
        Class::List
    } else {
        Class::Request
    }
}

fn has(uri: &Uri, parameter: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == parameter))
}

fn writes_service(method: &Method, path: &str) -> bool {
    path.starts_with("/api/v1/") && method != Method::GET && below_namespace(path).starts_with("services/")
}

/// `/apis/apps/v1/namespaces/shop/deployments/web` is `deployments/web`.
fn below_namespace(path: &str) -> &str {
    path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/')).map_or(path, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, uri: &str) -> Class {
        class(method, &uri.parse().unwrap())
    }

    #[test]
    fn watches_lists_events_and_leases_are_counted_apart() {
        assert_eq!(of(&Method::GET, "/api/v1/namespaces/shop/services?watch=true&timeoutSeconds=290"), Class::Watch);
        assert_eq!(of(&Method::GET, "/api/v1/namespaces/shop/services?labelSelector=x&limit=500"), Class::List);
        assert_eq!(of(&Method::POST, "/apis/events.k8s.io/v1/namespaces/shop/events"), Class::Event);
        assert_eq!(of(&Method::GET, "/api/v1/namespaces/shop/events?limit=20"), Class::Request);
        assert_eq!(of(&Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/bascule-system/leases/bascule"), Class::Lease);
        assert_eq!(of(&Method::PATCH, "/api/v1/namespaces/shop/services/web?force=true"), Class::Request);
    }

    #[test]
    fn a_write_of_a_service_has_two_numbers() {
        let mut journal = Journal::default();
        journal.arm(vec![
            Fault { of: Class::Service, at: 2, what: What::Drop },
            Fault { of: Class::Request, at: 1, what: What::Delay(1) },
        ]);
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let mut enter = |method: &Method, path: &str| journal.enter(method, &uri(path)).fault;
        assert_eq!(enter(&Method::GET, "/api/v1/namespaces/shop/services?watch=true"), None);
        assert_eq!(enter(&Method::PATCH, "/api/v1/namespaces/shop/services/web?force=true"), Some(What::Delay(1)));
        assert_eq!(enter(&Method::GET, "/api/v1/namespaces/shop/services/web"), None);
        assert_eq!(enter(&Method::PATCH, "/apis/apps/v1/namespaces/shop/deployments/web-blue"), None);
        assert_eq!(enter(&Method::PATCH, "/api/v1/namespaces/shop/services/web"), Some(What::Drop));
        let last = journal.entries.last().unwrap();
        assert_eq!((last.number, last.service, last.path.as_str()), (4, Some(2), "services/web"));
    }
}
