//! The labels, annotations and names that Bascule puts on objects: one place, so that no two parts spell them differently.

/// API group of all kinds here.
pub const GROUP: &str = "bascule.dev";
/// The one field manager of every write.
pub const FIELD_MANAGER: &str = "bascule";

/// Label: the Release that an object belongs to.
pub const RELEASE: &str = "bascule.dev/release";
/// Label: the workload of that Release.
pub const WORKLOAD: &str = "bascule.dev/workload";
/// Label on pods, annotation on Services, key in a Service's selector: `blue`, `green` or `none`.
pub const TRACK: &str = "bascule.dev/track";
/// Label on pods, annotation on Services: the revision.
pub const REVISION: &str = "bascule.dev/revision";
/// Annotation on Services: why traffic was moved by the last write.
pub const REASON: &str = "bascule.dev/reason";
/// Label on a preview Service: the Service that it previews.
pub const PREVIEW_OF: &str = "bascule.dev/preview-of";
/// Label on a namespace: the environment that it is.
pub const ENVIRONMENT: &str = "bascule.dev/environment";

/// Label on a Job: `hook` or `gate`.
pub const JOB: &str = "bascule.dev/job";
/// Annotation on a Job: the field of the Release that it comes from.
pub const FIELD: &str = "bascule.dev/field";

/// Annotation on a Release: the trace that its next deploy is a part of, where no artifact names one.
pub const TRACEPARENT: &str = "bascule.dev/traceparent";
/// Label of an image: the trace of its build.
pub const TRACEPARENT_LABEL: &str = "dev.bascule.traceparent";
/// Metadata of an object in S3: the same.
pub const TRACEPARENT_METADATA: &str = "traceparent";

/// Value of [`TRACK`] on a Service before the first switch: no pod carries it, unless its owner says so.
pub const NO_TRACK: &str = "none";

/// Name of the preview Service of `service`.
pub fn preview(service: &str) -> String {
    format!("{service}-preview")
}
