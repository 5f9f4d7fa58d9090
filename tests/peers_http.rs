//! HTTP peers on the mock port that are slow, garbled, ambiguous, or too many.
