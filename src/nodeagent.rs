//! The node's side: who am I, what does the controller want, make it so.
