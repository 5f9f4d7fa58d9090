//! Power that goes away: what was synced is all there is, and a completed recording is whole.
