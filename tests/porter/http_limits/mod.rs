//! Limits of the HTTP interface against hostile clients: malformed requests, malformed values, and many connections.

mod malformed;
mod many_clients;
