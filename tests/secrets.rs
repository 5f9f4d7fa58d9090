//! Secrets pushed through every place of a stream, and looked for everywhere.
