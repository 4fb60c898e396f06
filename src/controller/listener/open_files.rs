//! How many connections the limit on open files carries.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ListenOptions;

/// Kept for the store, logs, children's pipes and the engine's socket.
const RESERVED: usize = 32;

/// More is of no use, and some programs that inherit the limit walk over all of it.
const ENOUGH: u64 = 131_072;

/// How many connections of each kind there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caps {
    /// Connections whose reply is not held back.
    pub(super) connections: usize,
    /// Connections whose reply is held back.
    pub(super) held: usize,
}

/// Raises the soft limit towards the hard one and returns what holds now.
pub(super) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let soft = current.unwrap_or(ENOUGH);
    let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    let holds = if wanted > soft {
        // Without the raise there are fewer connections, that is all.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        if raised.is_ok() { wanted } else { soft }
    } else {
        soft
    };
    usize::try_from(holds).unwrap_or(usize::MAX)
}

/// Shares `open_files` out: strangers get at most half.
pub(super) fn caps(open_files: usize, options: &ListenOptions) -> Caps {
    let usable = open_files.saturating_sub(RESERVED).max(2);
    let connections = options.max_connections.min(usable / 2).max(1);
    let held = usable - connections;
    Caps { connections, held: options.max_held.unwrap_or(held).min(held) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_out_the_open_files() {
        let options = ListenOptions::default();
        assert_eq!(caps(64, &options), Caps { connections: 16, held: 16 });
        assert_eq!(caps(1024, &options), Caps { connections: 496, held: 496 });
        assert_eq!(caps(131_072, &options), Caps { connections: 2048, held: 128_992 });
        assert_eq!(caps(0, &options), Caps { connections: 1, held: 1 });
        let settled = ListenOptions { max_held: Some(10), ..ListenOptions::default() };
        assert_eq!(caps(131_072, &settled).held, 10);
    }
}
