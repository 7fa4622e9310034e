//! alt-ws
fn main() {}
