//! The one clock. Loops and adapters read it and hand the moment on; nothing that decides reads it.
//!
//! It is the machine's own, unless another stands in: a simulated run has a clock of its own for each of its machines, all of
//! them in one thread. Work that is spawned under such a clock takes it along with [`carried`].

use jiff::Timestamp;
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What tells the time in the place of the machine's clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

thread_local! {
    static STANDS_IN: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    STANDS_IN.with_borrow(|clock| clock.as_ref().map(|clock| clock())).unwrap_or_else(Timestamp::now)
}

/// Does something by this clock; by the machine's where none.
pub fn by<T>(clock: Option<Clock>, work: impl FnOnce() -> T) -> T {
    /// Puts the former clock back, also after a panic.
    struct Back(Option<Clock>);
    impl Drop for Back {
        fn drop(&mut self) {
            STANDS_IN.set(self.0.take());
        }
    }
    let _back = Back(STANDS_IN.replace(clock));
    work()
}

/// Work that goes by one clock, whoever polls it.
pub struct By<F> {
    clock: Option<Clock>,
    work: Pin<Box<F>>,
}

/// Work that goes by this clock.
pub fn under<F: Future>(clock: Clock, work: F) -> By<F> {
    By { clock: Some(clock), work: Box::pin(work) }
}

/// Work that goes by the clock of whoever begins it: for tasks that are spawned.
pub fn carried<F: Future>(work: F) -> By<F> {
    By { clock: STANDS_IN.with_borrow(Clone::clone), work: Box::pin(work) }
}

impl<F: Future> Future for By<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.clock.clone() {
            Some(clock) => by(Some(clock), || self.work.as_mut().poll(context)),
            None => self.work.as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(second: i64) -> Clock {
        Arc::new(move || Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn another_clock_stands_in_as_long_as_the_work_lasts() {
        let seen = by(Some(fixed(7)), || (now(), by(Some(fixed(8)), now), now()));
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(seen, (at(7), at(8), at(7)));
        assert!(now() > at(1_000_000_000));
    }

    #[tokio::test]
    async fn spawned_work_takes_its_clock_along() {
        let task = by(Some(fixed(7)), || {
            tokio::spawn(carried(async {
                tokio::task::yield_now().await;
                now()
            }))
        });
        assert_eq!(task.await.unwrap(), Timestamp::from_second(7).unwrap());
    }
}
