//! The binary; all of it is in the library, from `porter::arguments` on.

use std::process::ExitCode;

fn main() -> ExitCode {
    porter::arguments::main()
}
