//! Points in the code at which a test can have the program abort, fail or hang.
//!
//! They are there in builds with the feature `failpoints` alone, which the tests have and the released binary has not:
//! without it a point is nothing, and the variable is not read. `CLUSTERCTL_FAIL` names what is to happen where, as
//! `POINT:ACTION[@N]` with commas between, for the first or the N-th time that the point is reached:
//!
//! ```text
//! CLUSTERCTL_FAIL=J8:abort                   ends the process at J8, as SIGKILL would
//! CLUSTERCTL_FAIL=J13:error@2,J15:hang       the second J13 fails; J15 never goes on
//! ```
//!
//! The points J1 to J18 are the steps of a join in `tests/faults.md`; those of the store are named after what comes next
//! (`before-commit`). A step that changes something outside this process (J8, J10 to J15) passes its point twice, before
//! the change and after it. A point returns an `io::Error`, which every caller has a place for already; no error type
//! knows of the points.

#[cfg(not(feature = "failpoints"))]
use std::io;

/// Passes the point, unless a test wants otherwise.
///
/// # Errors
/// If a test wants one.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn pass(_point: &'static str) -> io::Result<()> {
    Ok(())
}

/// As [`pass`], in a thread that may block.
///
/// # Errors
/// If a test wants one.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn pass_blocking(_point: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use armed::{armed, pass, pass_blocking};

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::HashMap;
    use std::io;
    use std::sync::{LazyLock, Mutex, PoisonError};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Action {
        Abort,
        Error,
        Hang,
    }

    /// What happens at a point, and how often it is still to be reached before that.
    type Armed = HashMap<String, (Action, u32)>;

    /// Reads `POINT:ACTION[@N],...`; what cannot be read is a test's mistake and ends it.
    pub(super) fn parse(text: &str) -> Armed {
        let armed = text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(|one| {
            let (point, act) = one.split_once(':')?;
            let (act, times) = act.split_once('@').unwrap_or((act, "1"));
            let act = match act {
                "abort" => Action::Abort,
                "error" => Action::Error,
                "hang" => Action::Hang,
                _ => return None,
            };
            Some((point.to_owned(), (act, times.parse().ok()?)))
        });
        armed.collect::<Option<Armed>>().unwrap_or_else(|| panic!("CLUSTERCTL_FAIL cannot be read: {text}"))
    }

    /// What is to happen at the point this time. Each action happens once.
    pub(super) fn due(armed: &mut Armed, point: &str) -> Option<Action> {
        let (action, left) = armed.get_mut(point)?;
        *left = left.saturating_sub(1);
        let action = (*left == 0).then_some(*action)?;
        armed.remove(point);
        Some(action)
    }

    tokio::task_local! {
        static OF_THIS_TASK: Mutex<Armed>;
    }

    /// Does `work` with these points armed, for it alone: many tests live in one process. What it spawns is not part of it.
    ///
    /// # Panics
    /// `text` cannot be read.
    pub async fn armed<T>(text: &str, work: impl Future<Output = T>) -> T {
        OF_THIS_TASK.scope(Mutex::new(parse(text)), work).await
    }

    fn now_due(point: &str) -> Option<Action> {
        #[expect(clippy::disallowed_methods, reason = "it is no setting: the released binary does not know it")]
        static ARMED: LazyLock<Mutex<Armed>> =
            LazyLock::new(|| Mutex::new(parse(&std::env::var("CLUSTERCTL_FAIL").unwrap_or_default())));
        let of = |armed: &Mutex<Armed>| due(&mut armed.lock().unwrap_or_else(PoisonError::into_inner), point);
        let action = OF_THIS_TASK.try_with(of).ok().flatten().or_else(|| of(&ARMED))?;
        tracing::warn!(point, ?action, "a failpoint is reached");
        if action == Action::Abort {
            std::process::abort();
        }
        Some(action)
    }

    fn told(point: &str) -> io::Error {
        io::Error::other(format!("the failpoint {point} was told to fail"))
    }

    /// Passes the point, unless a test wants otherwise.
    ///
    /// # Errors
    /// If a test wants one.
    pub async fn pass(point: &'static str) -> io::Result<()> {
        match now_due(point) {
            Some(Action::Hang) => std::future::pending().await,
            Some(_) => Err(told(point)),
            None => Ok(()),
        }
    }

    /// As [`pass`], in a thread that may block.
    ///
    /// # Errors
    /// If a test wants one.
    pub fn pass_blocking(point: &'static str) -> io::Result<()> {
        match now_due(point) {
            Some(Action::Hang) => loop {
                std::thread::park();
            },
            Some(_) => Err(told(point)),
            None => Ok(()),
        }
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::armed::{Action, due, parse};

    #[test]
    fn an_action_happens_once_at_its_turn() {
        let mut armed = parse("J8:abort, J13:error@2,");
        assert_eq!(due(&mut armed, "J1"), None);
        assert_eq!((due(&mut armed, "J13"), due(&mut armed, "J13")), (None, Some(Action::Error)));
        assert_eq!((due(&mut armed, "J8"), due(&mut armed, "J8")), (Some(Action::Abort), None));
        assert_eq!(due(&mut armed, "J13"), None);
    }

    #[test]
    #[should_panic(expected = "cannot be read: J8:stop")]
    fn a_word_that_is_no_action_ends_the_test() {
        parse("J8:stop");
    }
}
