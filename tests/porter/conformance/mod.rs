//! Porter against GitHub's and Fly's own descriptions of their APIs, and against a GitHub that has little of it.

mod calls;
mod description;
mod fly;
mod missing_features;
