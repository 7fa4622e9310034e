//! The program `alt-ws`. What it can do is in [`cli`]; how, in the library.

mod cli;

/// Half the memory per connection of the system's allocator, and it gives memory back when clients leave: the figures
/// are in `docs/decisions.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
