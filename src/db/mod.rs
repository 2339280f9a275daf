//! (to be written)
pub mod import;
