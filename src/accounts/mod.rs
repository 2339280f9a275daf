//! (to be written)

pub mod import_d1;
