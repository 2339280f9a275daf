//! Markdown as GitHub shows it. [`reading`] tells what a person sees of a text (and what is code, quote or
//! comment); [`writing`] puts foreign words into ours so that they are shown as they are and do nothing, and
//! [`quoting`] does so with whole texts.
//!
//! Used by [`super::command`], [`super::prompt`] and [`super::comment`] only.

mod quoting;
mod reading;
mod writing;

pub(super) use quoting::quote;
pub(super) use reading::{Piece, walk};
pub(super) use writing::{block, code, fence, line, mention, plain};
