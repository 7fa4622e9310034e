//! The program `alt-ws`. What it can do is in [`cli`]; how, in the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
