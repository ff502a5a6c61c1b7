//! A value that others wait for. Like a watch channel, but whoever waits is woken in the order in which they came.
//!
//! A watch channel of tokio wakes in an order that it draws at random; in the simulation the same seed must give the same history.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Told<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy> Told<T> {
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::const_new() }
    }

    pub fn now(&self) -> T {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody, and returns what it was.
    pub fn tell(&self, value: T) -> T {
        let before = std::mem::replace(&mut *self.value.lock().unwrap_or_else(PoisonError::into_inner), value);
        self.changed.notify_waiters();
        before
    }

    /// Waits until it is one of those, and returns it; a value that has been replaced by then is not seen.
    pub async fn until(&self, mut is: impl FnMut(&T) -> bool) -> T {
        loop {
            // Before the look: what is told in between is not missed.
            let changed = self.changed.notified();
            let now = self.now();
            if is(&now) {
                return now;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn whoever_came_first_is_woken_first() {
        let (told, order) = (Arc::new(Told::new(0)), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..40)
            .map(|number| {
                let (told, order) = (told.clone(), order.clone());
                tokio::spawn(async move {
                    told.until(|value| *value == 1).await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(told.tell(1), 0);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_so_already_is_not_waited_for() {
        assert_eq!(Told::new(7).until(|value| *value > 5).await, 7);
    }
}
