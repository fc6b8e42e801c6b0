//! The dialect of Rheomesh's published examples, so that its browser client works here unchanged.
//!
//! A client is an [`crate::Arrival`] like one at `/ws`: this side says on its behalf what a client of that dialect would say, and so
//! it is asked, granted and revoked alike. Only translates. What the client demands of a server beyond its messages is in
//! `docs/socket.md`.

mod door;
mod lines;
mod publishing;
mod subscribing;
mod translator;
mod wire;

pub(crate) use door::socket;
