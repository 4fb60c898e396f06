//! From what a host is to what it should be: desired and observed state, the plan between them, and its execution.
