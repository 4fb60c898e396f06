//! I13: memory and open files go back to where they were.

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) memory_kb: u64,
    pub(crate) files: u64,
}

/// Allocators keep some pages, whatever the program gives back.
const MEMORY_SLACK_KB: u64 = 8 * 1024;

impl Held {
    /// From the text of `/proc/PID/status` and the number of entries in `/proc/PID/fd`.
    pub(crate) fn of(status: &str, files: u64) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory_kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Self { memory_kb: memory_kb.unwrap_or_else(|| panic!("no VmRSS: {status}")), files }
    }

    /// # Panics
    /// More is held than `before`, by more than a twentieth and what allocators keep.
    pub(crate) fn is_back_at(self, before: Self) {
        assert!(self.files <= before.files + before.files / 20 + 2, "I13: open files {before:?} -> {self:?}");
        let most = before.memory_kb + before.memory_kb / 20 + MEMORY_SLACK_KB;
        assert!(self.memory_kb <= most, "I13: memory {before:?} -> {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_it_is_for() {
        let before = Held::of("Name:\tclusterctl\nVmRSS:\t   20480 kB\n", 20);
        assert_eq!(before, Held { memory_kb: 20_480, files: 20 });
        Held { memory_kb: 21_000, files: 21 }.is_back_at(before);
        for after in [Held { memory_kb: 20_480, files: 40 }, Held { memory_kb: 40_960, files: 20 }] {
            assert!(std::panic::catch_unwind(|| after.is_back_at(before)).is_err(), "{after:?}");
        }
    }
}
