//! A registry that knows every tag.

use bascule_controller::sources::registry::{Described, Fetch, LookupError, Question};
use bascule_core::image::Digest;
use futures::{FutureExt as _, future::BoxFuture};

#[derive(Debug, Default)]
pub struct Registry;

impl Fetch for Registry {
    fn describe<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Described, LookupError>> {
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let mut hash = [0_u8; 32];
            for (index, byte) in question.to_string().bytes().enumerate() {
                hash[index % 32] = u8::wrapping_add(hash[index % 32].wrapping_mul(31), byte);
            }
            Ok(Digest::from_sha256(hash).into())
        }
        .boxed()
    }
}
