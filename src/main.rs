//! The binary. All of its code is in the library; see `porter::arguments`.

use std::process::ExitCode;

fn main() -> ExitCode {
    porter::arguments::main()
}
