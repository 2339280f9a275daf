//! Markdown as GitHub shows it. [`reading`] tells what a person sees of a text (and what is code, quote or
//! comment); [`writing`] puts foreign text into ours so that it is shown as it is and does nothing.
//!
//! Used by [`super::command`], [`super::prompt`] and [`super::comment`] only.

mod reading;
mod writing;

pub(super) use reading::{Piece, walk};
pub(super) use writing::{block, code, fence, line, mention, quote};
