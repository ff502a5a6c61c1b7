//! The pure core: what is observed goes in, a plan comes out.
//!
//! In: an [`Observed`] snapshot, the time, a [`Policy`]. Out: a [`Plan`].
//! Never here: I/O, clocks, randomness, logging, a Kubernetes or AWS client.

mod body;
pub mod config;
mod decide;
pub mod gate;
pub mod image;
pub mod input;
pub mod mutant;
mod observed;
mod plan;
mod revision;
pub mod sources;
pub mod story;
pub mod trace;
mod variables;

pub use decide::{STATUS, decide, later, was_rejected};
pub use observed::{
    Answer, Archive, Check, Claim, Deployment, Ended, Endpoints, Image, Job, JobState, Observed, OperationView, Parameter,
    PodReport, Record, Refusal, ReleaseView, ReplicaSet, Service, ServiceForm, ServicePort, Sight, Trouble, WayBack,
};
pub use plan::{Next, Note, NoteKind, Plan, Policy, Read, ServiceWrite, Step};
pub use revision::{Rendered, RenderedWorkload, Revision};
