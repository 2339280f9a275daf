//! GitHub's Markdown. [`reading`] determines which parts of a source are visible text, code, quotes or comments.
//! [`writing`] inserts untrusted text so that it is displayed literally and has no effect, and [`quoting`] does
//! the same for whole texts.
//!
//! Only [`super::command`], [`super::prompt`] and [`super::comment`] use this module.

mod quoting;
mod reading;
mod writing;

pub(super) use quoting::quote;
pub(super) use reading::{Piece, walk};
pub(super) use writing::{block, code, fence, line, mention, plain};
