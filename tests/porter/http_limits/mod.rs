//! The HTTP door, from the side of people who mean no good: odd requests, odd values, too much of everything.

mod malformed;
mod many_clients;
