//! Log lines in the form `[2026-01-02T03:04:05Z] - [INFO] - message key=value`.
