//! HTTP peers on the mock port that are slow, garbled, ambiguous, or too many: applications on the one side, upstreams on the other.
//! What is sent and what comes of it stands in the files below; `peers_admin` sends the same to the admin port.

pub mod crowds;
pub mod generated;
pub mod reference;
pub mod requests;
mod responses;
pub mod stalls;
pub mod tables;
pub mod tap;
