//! Compiles the crate again when there is another migration: `sqlx::migrate!` alone does not see a new file.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
