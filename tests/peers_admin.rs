//! The admin port has the same protection: what `peers_http` sends to the mock port is sent to it too. Behind its gate stands another
//! reader of HTTP, so what the gate takes for one call must be that call and no other.

mod calls;
mod generated;
mod stalls;
