//! Porter against the API descriptions of GitHub and Fly, and against a GitHub that lacks optional features.

mod calls;
mod description;
mod fly;
mod missing_features;
