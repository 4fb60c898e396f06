//! I9: every run ends before its deadline, with a documented exit code, and says what, why and what next.

use std::time::Duration;

use clusterctl::cli::Failure;

/// The exit codes of R5 and those of signals; 70 is documented too, and never right.
const CODES: [i32; 17] = [0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 70, 130, 141, 143];

/// Judges how a command ended: its exit code and what it wrote to stderr.
///
/// # Panics
/// The code is undocumented or says that clusterctl is wrong, or the words for the operator or for scripts are missing.
pub(crate) fn documented(code: i32, stderr: &str) {
    assert!(CODES.contains(&code), "I9: exit code {code}:\n{stderr}");
    assert_ne!(code, 70, "I9: a bug:\n{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("result=") && last.contains(" reason=") && last.contains(" next="), "I9: {stderr}");
    if code == 0 {
        return;
    }
    let words = |label: &str| stderr.lines().rev().any(|line| line.strip_prefix(label).is_some_and(|it| it.len() > 8));
    assert!(words("error: "), "I9: it does not say what:\n{stderr}");
    assert!(words("hint: "), "I9: it does not say what to do:\n{stderr}");
}

/// Judges a failure as the operator would see it.
///
/// # Panics
/// See [`documented`]; or it took longer than `deadline` and a moment.
pub(crate) fn failed_well(failure: &Failure, took: Duration, deadline: Duration) {
    documented(i32::from(failure.exit().code()), &failure.report());
    assert!(took <= deadline + GRACE, "I9: it took {took:?} of {deadline:?}");
}

/// What may come after the deadline: a call to Docker that began before it, and the last exchange with the controller,
/// which have deadlines of their own.
const GRACE: Duration = Duration::from_secs(50);

#[cfg(test)]
mod tests {
    use super::*;
    use clusterctl::cli::Exit;

    #[test]
    fn finds_what_it_is_for() {
        let good = Failure::message(Exit::Waiting, "no volume yet").hint("look at it, then join again");
        failed_well(&good, Duration::ZERO, Duration::ZERO);
        let bad = [
            (10, "error: it does not work\nresult=waiting reason=x next=-\n"),
            (10, "error: it does not work\nhint: look at it again\n"),
            (70, "error: it does not work\nhint: look at it again\nresult=failed reason=bug next=-\n"),
            (4, "error: it does not work\nhint: look at it again\nresult=failed reason=x next=-\n"),
        ];
        for (code, text) in bad {
            assert!(std::panic::catch_unwind(|| documented(code, text)).is_err(), "{code} {text}");
        }
    }
}
